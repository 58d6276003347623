"""Limits are read from the study file, reach the workers, and are no part of a cell's identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.limits import Limits
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import confirm_cells
from toys import STUDY, study_file


def test_a_study_without_limits_has_the_usual_ones(tmp_path: Path) -> None:
    assert read_study(study_file(tmp_path), ()).limits == Limits(None, None, 1)


def test_limits_are_read_and_change_no_id(tmp_path: Path) -> None:
    plain = read_study(study_file(tmp_path), ())
    limited = read_study(
        study_file(tmp_path, f"{STUDY}limits: {{minutes: 2.5, memory_gb: 8, retries: 0}}\n"), ()
    )
    assert limited.limits == Limits(2.5, 8.0, 0)
    ids = [[cell.id for cell in confirm_cells(study.arms, study.seeds)] for study in (plain, limited)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{minutes: 0}", "limits.minutes"),
        ("{memory_gb: -1}", "limits.memory_gb"),
        ("{retries: 1.5}", "limits.retries"),
        ("{minuts: 3}", "minuts"),
    ],
)
def test_a_wrong_limit_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = study_file(tmp_path, f"{STUDY}limits: {text}\n")
    with pytest.raises(StudyFileError, match=rf"toy.yaml, line 16: .*{said}"):
        read_study(file, ())
