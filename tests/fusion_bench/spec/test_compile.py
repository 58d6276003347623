"""The key ``train.compile`` of a study file: another way of computing, so other cells."""

from __future__ import annotations

import pytest

from fusion_bench.errors import StudyFileError
from study_fakes import GOOD, Load


def test_compiled_cells_are_other_cells_and_none_is_the_default(load: Load) -> None:
    plain, none = load(GOOD), load(GOOD, "train.compile=none")
    compiled = load(GOOD, "train.compile=reduce-overhead")
    ids = [[arm.config.id for arm in study.arms] for study in (plain, none, compiled)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])
    assert {arm.config.train.compile for arm in compiled.arms} == {"reduce-overhead"}


def test_another_value_is_named(load: Load) -> None:
    with pytest.raises(StudyFileError, match=r"train\.compile: .*reduce-overhead"):
        load(GOOD, "train.compile=max-autotune")
