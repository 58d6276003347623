"""A finished study, trained once for the tests of runs folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import train
from toys import study_file


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with four finished cells of the study ``toy``."""
    folder = tmp_path_factory.mktemp("trained")
    train(study_file(folder), folder / "runs")
    return folder / "runs"
