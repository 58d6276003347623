"""Every spelling of a value gives one error, or a cell whose stored configuration has the cell's own id."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.spec.document.sections import OVERRIDABLE, SECTIONS, DataSection
from fusion_bench.spec.signatures import equal_values, signature_of
from fusion_bench.spec.study import Study
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.training.config import CellConfig
from study_fakes import GOOD, Film, Gru, Load, Mini

SPELLINGS = (
    "0", "0.0", "-0.0", "1", "1.0", "2", "2.0", "3", "3e0", "1e-4", "0.0001", '"x"', '"1e-4"', "true", "null",
    "[0, 0.5]", "[0.0, 5e-1]", "[1, 2]", "[1.0, 2.0]", "[64, 96]", "{train: 7}", "{train: 7.0}",
)  # fmt: skip
FILM, GRU, MINI = (signature_of(cls).names for cls in (Film, Gru, Mini))
KEYS = (
    *(f"data.{key}" for key in (*DataSection.model_fields, *MINI)),
    *(f"{name}.{key}" for name, section in SECTIONS.items() for key in section.model_fields),
    *(f"text.{key}" for key in GRU),
    *(f"arms.film.{key}" for key in FILM),
    *(f"arms.film.{name}.{key}" for name in OVERRIDABLE for key in SECTIONS[name].model_fields),
    "threads",
    "seeds",
)
SEARCHED = (*FILM, *(f"{name}.{key}" for name in OVERRIDABLE for key in SECTIONS[name].model_fields))
VARIED = """\
version: 1
name: varied
data: {name: mini, image_size: [64, 96]}
backbone: {name: test_resnet}
vary: {base: {module: film}}
controls: false
seeds: 1
"""


def configs_of(study: Study) -> Iterator[CellConfig]:
    """Yield the settings of every arm's cells, and those of the first trials of its search."""
    for arm in study.arms:
        yield arm.config
        if study.search is not None:
            space = study.search.space_of(arm)
            search = ArmSearch(arm, space, trials=4, batch=4, seeds=(9,), maximise=True)
            yield from (cell.config for cell in search.ask())


def ids_by_value(key: str, ids: Callable[[str], tuple[str, ...]]) -> Mapping[str, set[tuple[str, ...]]]:
    """Return the ids that accepted spellings give, by their value as JSON, numbers as real numbers."""
    found: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for spelling in SPELLINGS:
        try:
            found[_meaning(spelling)].add(ids(spelling))
        except StudyFileError as error:
            assert all(key.rpartition(".")[2] in line for line in str(error).splitlines()), (
                f"{spelling}: {error}"
            )
    return found


def _meaning(spelling: str) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return float(value) + 0.0 if isinstance(value, int | float) and not isinstance(value, bool) else value

    try:
        return json.dumps(plain(json.loads(spelling)))
    except json.JSONDecodeError:
        return spelling


def stored_ids(study: Study) -> tuple[str, ...]:
    """Return the ids of the study's cells, each of which its stored configuration gives too."""
    ids = []
    for config in configs_of(study):
        stored = CellConfig.from_json(json.loads(json.dumps(config.to_json())))
        assert stored.id == config.id, f"{config} is stored as another cell"
        ids.append(config.id)
    return tuple(ids)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_study_gives_one_cell_for_each_value(load: Load, key: str) -> None:
    found = ids_by_value(key, lambda spelling: stored_ids(load(GOOD, f"{key}={spelling}")))
    assert all(len(ids) <= 1 for ids in found.values()), found


@pytest.mark.parametrize("key", SEARCHED)
def test_a_searched_key_gives_one_cell_for_each_value(load: Load, key: str) -> None:
    plain = GOOD.replace("kernel_size: 5, scale: 1", "")

    def ids(spelling: str) -> tuple[str, ...]:
        space = f"search={{trials: 4, declared: false, space: {{{key}: [{spelling}]}}}}"
        return stored_ids(load(plain, space))

    found = ids_by_value(key, ids)
    assert all(len(ids) <= 1 for ids in found.values()), found


@pytest.mark.parametrize(
    "key", ["kernel_size", "scale", "train.weight_decay", "fusion.depth", "head.dropout", "text.hidden"]
)
def test_a_varied_key_gives_one_cell_for_each_value(load: Load, key: str) -> None:
    found = ids_by_value(
        key, lambda spelling: stored_ids(load(VARIED, f"vary.one_at_a_time={{{key}: [{spelling}]}}"))
    )
    assert all(len(ids) <= 1 for ids in found.values()), found


def test_a_searched_list_of_two_spellings_is_drawn_as_numbers(load: Load) -> None:
    study = load(
        GOOD, "search={trials: 2, declared: false, space: {train.weight_decay: [0, 1e-4], scale: [0, 1]}}"
    )
    assert study.search is not None
    film = study.search.space_of(study.arms[0])
    assert [json.dumps(space.values) for space in film.values()] == ["[0.0, 0.0001]", "[0.0, 1.0]"]  # type: ignore[union-attr]


def test_a_value_that_is_listed_twice_in_two_spellings_is_refused(load: Load) -> None:
    with pytest.raises(StudyFileError, match=r"space.scale\[1\]: names 0.0 once more; leave it out"):
        load(GOOD, "search={trials: 2, space: {scale: [0, 0.0]}}")


def test_equal_values_are_the_values_of_one_cell() -> None:
    assert equal_values([1, {"a": 2.0}], [1.0, {"a": 2}])
    assert not equal_values([True], [1])
