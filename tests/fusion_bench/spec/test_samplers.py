"""A study says at once what its sampler or its pruner cannot do, with the line."""

from __future__ import annotations

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.spec.smoke import smoke_study
from study_fakes import GOOD, Load

RANGES = "space: {train.learning_rate: {low: 1e-4, high: 1e-2}, train.weight_decay: {low: 0.0, high: 0.1}}"


def searching(text: str) -> str:
    return f"{GOOD}search:\n  trials: 9\n  batch: 9\n" + "".join(f"  {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "sampler", "pruner"),
    [
        ("seeds: [9]", "tpe", None),
        ("sampler: gp", "gp", None),
        ("sampler: random\npruner: successive_halving", "random", "successive_halving"),
        ("sampler: qmc\npruner: null", "qmc", None),
        (f"sampler: cmaes\ndeclared: false\n{RANGES}", "cmaes", None),
        # Every combination of short lists is tried, so nothing is drawn.
        ("sampler: cmaes\ndeclared: false\nspace: {kernel_size: [3, 5]}", "cmaes", None),
    ],
)
def test_a_sampler_and_a_pruner_are_read(load: Load, text: str, sampler: str, pruner: str | None) -> None:
    search = load(searching(text)).search
    assert search is not None
    assert (search.sampler, search.pruner) == (sampler, pruner)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sampler: tpee",
            "line 26: search.sampler: must be 'tpe', 'random', 'gp', 'cmaes' or 'qmc', not 'tpee'",
        ),
        ("pruner: median", "line 26: search.pruner: must be 'successive_halving', not 'median'"),
        (
            "sampler: cmaes",
            "line 26: search.sampler: cmaes draws two or more ranges of numbers; film searches norm",
        ),
        (
            "sampler: cmaes\ndeclared: false\nspace: {train.learning_rate: {low: 1e-4, high: 1e-2}}",
            "film searches train.learning_rate alone; write tpe here",
        ),
        (
            "sampler: gp\npruner: successive_halving",
            "line 27: search.pruner: gp learns nothing from pruned trials; write sampler: tpe, random or qmc",
        ),
        (
            "pruner: successive_halving\nspace: {train.epochs: [1, 3]}",
            "line 27: search.space.train.epochs: cannot be searched with a pruner",
        ),
        (
            "pruner: successive_halving\nspace: {train.batch_size: {low: 8, high: 64}}",
            "search.space.train.batch_size: cannot be searched with a pruner",
        ),
    ],
)
def test_what_cannot_be_drawn_or_pruned_is_told_with_its_line(load: Load, text: str, message: str) -> None:
    with pytest.raises(StudyFileError) as raised:
        load(searching(text))
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "text", "message"),
    [
        ("search.trials=101", "sampler: gp", "gp draws at most 100 trials, and there are 101; write fewer"),
        ("search.batch=2", "pruner: successive_halving", "one trial in 3 of each batch is trained longer"),
        ("search.trials=2", "pruner: successive_halving", "write 3 or more for batch and trials"),
        ("train.epochs=1", "pruner: successive_halving", "film has train.epochs: 1; write 2 or more"),
    ],
)
def test_too_many_or_too_few_are_told(load: Load, override: str, text: str, message: str) -> None:
    with pytest.raises(StudyFileError, match=message):
        load(searching(text), override)


def test_a_smoke_run_prunes_too(load: Load) -> None:
    study = smoke_study(load(searching("pruner: successive_halving")))
    assert study.search is not None
    assert (study.search.trials, study.search.batch, study.search.pruner) == (3, 3, "successive_halving")
