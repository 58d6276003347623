"""Who trained a cell, and at which commit: what git says is shown, and nothing that it says is an error."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fusion_bench.reporting.mlflow_.origins import Origins, origin_here


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_branch_in_another_encoding_is_shown_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    subprocess.run([b"git", b"init", b"-q", b"-b", b"caf\xe9", str(tmp_path).encode()], check=True)
    origin = origin_here(tmp_path / "study.yaml")
    assert origin["mlflow.source.git.branch"] == "caf\N{REPLACEMENT CHARACTER}"
    assert origin["mlflow.source.name"] == "study.yaml"


def test_a_damaged_file_counts_as_none_and_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "origins.json").write_text('{"a": ')
    origins = Origins.of(tmp_path)
    assert origins.tags("a") == {}
    origins.add(["a"], {"mlflow.user": "me"})
    assert Origins.of(tmp_path).tags("a") == {"mlflow.user": "me"}
