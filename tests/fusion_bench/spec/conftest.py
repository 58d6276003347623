"""Shared fixtures of the tests of study files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from study_fakes import Load, fake_catalogue


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(text: str, *overrides: str) -> Study:
        (tmp_path / "s.yaml").write_text(text)
        return read_study(tmp_path / "s.yaml", overrides, catalogue=fake_catalogue())

    return loaded
