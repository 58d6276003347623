"""The key ``seeds``: looks between the fewest and the most, more seeds of the reference, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.spec.document.seeds_section import looks_between
from fusion_bench.spec.smoke import smoke_study
from fusion_bench.study.plan import confirm_cells
from study_fakes import GOOD, Load

MORE_ARMS = GOOD.replace(
    "arms:\n", "arms:\n  film 3: {module: film, kernel_size: 3}\n  film 7: {module: film, kernel_size: 7}\n"
)
LOOKS = GOOD.replace("seeds: [3, 5]", "seeds: {min: 3, max: 12, stop: decided}")


@pytest.mark.parametrize(
    ("fewest", "most", "looks"),
    [
        (3, 12, (3, 5, 8, 12)),
        (3, 4, (3, 4)),
        (3, 5, (3, 5)),
        (3, 13, (3, 5, 8, 12, 13)),
        (5, 20, (5, 8, 12, 18, 20)),
    ],
)
def test_each_look_has_half_as_many_seeds_again(fewest: int, most: int, looks: tuple[int, ...]) -> None:
    assert looks_between(fewest, most) == looks


def test_a_study_has_all_seeds_and_its_looks(load: Load) -> None:
    study = load(LOOKS)
    assert (study.seeds, study.looks) == (tuple(range(12)), (3, 5, 8, 12))
    assert load(LOOKS, "seeds.max=8").looks == (3, 5, 8)
    assert load(LOOKS.replace(", stop: decided", "")).looks == study.looks


def test_a_number_or_a_list_in_place_of_looks_is_what_it_is_without_them(load: Load) -> None:
    for override, seeds in (("seeds=5", (0, 1, 2, 3, 4)), ("seeds=[3, 5]", (3, 5))):
        study = load(LOOKS, override)
        assert (study.seeds, study.looks) == (seeds, ())
    assert load(GOOD, "seeds={min: 4, max: 9}").looks == (4, 6, 9)


def test_the_reference_may_have_more_seeds_than_the_other_arms(load: Load) -> None:
    study = load(MORE_ARMS, "seeds={arms: 5, reference: 8}")
    assert study.seeds == tuple(range(8)) and study.fewest_seeds == 5 and not study.looks
    assert study.seed_counts == {arm.label: 8 if arm.label == study.reference else 5 for arm in study.arms}
    assert {*load(GOOD, "seeds=5").seed_counts.values()} == {5}
    assert {*smoke_study(study).seed_counts.values()} == {2}


def test_seeds_may_be_counted_from_another_one(load: Load) -> None:
    study = load(MORE_ARMS, "seeds={arms: 5, reference: 8, first: 100}")
    assert study.seeds == tuple(range(100, 108)) and study.fewest_seeds == 5
    asked = {cell.seed for cell in confirm_cells(study.arms, study.seeds, study.seed_counts)}
    assert asked == {*range(100, 108)}
    assert load(LOOKS, "seeds.first=7").seeds == tuple(range(7, 19))
    assert load(LOOKS, "seeds.first=7").looks == (3, 5, 8, 12)


@pytest.mark.parametrize(
    ("base", "own", "seeds", "looks", "fewest"),
    [
        ("{arms: 5, reference: 8}", "{min: 3, max: 5}", range(5), (3, 5), 5),
        ("{min: 3, max: 5}", "{arms: 5, reference: 8}", range(8), (), 5),
        ("{arms: 5, reference: 8}", "{first: 100}", range(100, 108), (), 5),
        ("{min: 3, max: 5, first: 7}", "{max: 8}", range(7, 15), (3, 5, 8), 8),
        ("{arms: 5, reference: 8, first: 100}", "{min: 3, max: 5}", range(5), (3, 5), 5),
    ],
)
def test_looks_and_numbers_of_an_extended_study_replace_each_other(
    tmp_path: Path, load: Load, base: str, own: str, seeds: range, looks: tuple[int, ...], fewest: int
) -> None:
    (tmp_path / "base.yaml").write_text(MORE_ARMS.replace("seeds: [3, 5]", f"seeds: {base}"))
    study = load(f"version: 1\nextends: base.yaml\nname: own\nseeds: {own}\n")
    assert (study.seeds, study.looks, study.fewest_seeds) == (tuple(seeds), looks, fewest)


def test_looks_are_no_part_of_a_cells_identity(load: Load) -> None:
    cells = [
        {cell.id for cell in confirm_cells(study.arms, study.seeds)}
        for study in (load(LOOKS), load(LOOKS, "seeds=12"))
    ]
    assert cells[0] == cells[1]


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("{min: 2, max: 12}", "line 17: seeds.min: must be at least 3, not 2"),
        ("{min: 3, max: 1001}", "line 17: seeds.max: must be at most 1,000, not 1001"),
        ("{min: 5, max: 5}", "line 17: seeds: min must be less than max, not 5 and 5"),
        ("{min: 8, max: 5}", "line 17: seeds: min must be less than max, not 8 and 5"),
        ("{min: 3}", "line 17: seeds.max: is missing"),
        ("{min: 3, max: 12, stop: never}", "line 17: seeds.stop: must be 'decided', not 'never'"),
        ("{min: 3, max: 12, step: 2}", "line 17: seeds.step: unknown key (did you mean 'stop'?)"),
        ("{min: 3.5, max: 12}", "line 17: seeds.min: must be a whole number, not 3.5"),
        (
            "{arms: 5, reference: 7}",
            "line 17: seeds: reference must be at least 1.5 times arms, or no comparison",
        ),
        ("{arms: 0, reference: 5}", "line 17: seeds.arms: must be at least 1, not 0"),
        ("{reference: 5}", "line 17: seeds.arms: is missing"),
        ("{arms: 3, max: 5}", "line 17: seeds.max: unknown key"),
        ("{arms: 5, reference: 8, first: -1}", "line 17: seeds.first: must be at least 0, not -1"),
        ("{min: 3, max: 12, first: 2147483647}", "line 17: seeds.first: must be at most 2,147,482,648"),
        ("{min: 3, max: 12, first: one}", "line 17: seeds.first: must be a whole number, not 'one'"),
        ("twelve", "line 17: seeds: must be a whole number, not 'twelve'"),
    ],
)
def test_other_looks_are_refused_with_their_line(load: Load, seeds: str, message: str) -> None:
    text = GOOD.replace("seeds: [3, 5]", f"seeds: {seeds}")
    with pytest.raises(StudyFileError, match=re.escape(message)):
        load(text)


def test_further_seeds_that_no_comparison_would_use_are_refused(load: Load) -> None:
    message = "seeds: more seeds of the reference are used beside at least 3 other arms, and there is 1"
    with pytest.raises(StudyFileError, match=re.escape(message)):
        load(GOOD, "seeds={arms: 5, reference: 8}")


def test_search_seeds_are_none_of_the_references(load: Load) -> None:
    with pytest.raises(StudyFileError, match="7 is also among the study's seeds"):
        load(f"{MORE_ARMS}search: {{trials: 2, seeds: [7]}}\n", "seeds={arms: 5, reference: 8}")


def test_search_seeds_are_none_of_those_counted_from_another_one(load: Load) -> None:
    with pytest.raises(StudyFileError, match="1003 is also among the study's seeds"):
        load(
            f"{MORE_ARMS}search: {{trials: 2, seeds: [1003]}}\n", "seeds={arms: 5, reference: 8, first: 1000}"
        )


def test_search_seeds_are_none_that_a_look_may_ask_for(load: Load) -> None:
    with pytest.raises(StudyFileError, match="11 is also among the study's seeds"):
        load(f"{LOOKS}search: {{trials: 2, seeds: [11]}}\n")
