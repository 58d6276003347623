"""Each sampler of Optuna draws the same trials again after an interruption, and for every arm as many."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import pytest

from fusion_bench.contract import Choice, Float, Int, Space
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Sampler
from fusion_bench.study.searching import samplers
from fusion_bench.study.searching.draws import Draws
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.training.config import Json
from toys import toy_config

GAIN = Float(0.01, 10.0, log=True)
RANGES: Mapping[str, Space] = {
    "gain": GAIN,
    "train.learning_rate": Float(1e-4, 1e-2, log=True),
    "train.epochs": Int(1, 9),
}
MIXED: Mapping[str, Space] = {**RANGES, "train.optimizer": Choice(("adamw", "adam"))}
SAMPLERS: tuple[Sampler, ...] = ("tpe", "random", "gp", "cmaes", "qmc")


def search(
    space: Mapping[str, Space],
    sampler: Sampler,
    *,
    trials: int = 20,
    label: str = "product",
    draws: Draws | None = None,
) -> ArmSearch:
    if sampler == "cmaes":
        pytest.importorskip("cmaes", reason="cmaes, of the extra search, is not installed")
    arm = Arm(label, "reference", "product", toy_config())
    return ArmSearch(
        arm, space, trials=trials, batch=4, seeds=(100,), maximise=True, sampler=sampler, draws=draws
    )


def drawn_by(found: ArmSearch, fails: Sequence[int] = (), batches: int = 99) -> list[Mapping[str, Json]]:
    """The settings of every trial of a search, or of its first batches; the trials of some numbers fail."""
    trials: list[Mapping[str, Json]] = []
    while not found.over and len(trials) < 4 * batches:
        cells = found.ask()
        numbers = range(len(trials), len(trials) + len(cells))
        trials += [cell.drawn for cell in cells]
        found.tell(
            {
                cell.id: None if number in fails else -abs(math.log(float(str(cell.drawn["gain"]))))
                for number, cell in zip(numbers, cells, strict=True)
            }
        )
    return trials


@pytest.mark.parametrize(
    ("space", "fails", "expected"),
    [
        ({"gain": GAIN}, (), "3d64d6137b1d696406c6acee007a4e0afe8f2de5d7cc57c9a69580a3164b5bee"),
        ({"gain": GAIN}, (3, 9), "9b041cfe8af75024ca402c1652257c4b9c5bfee1afd63686ebb9d6fd8b93b5ad"),
        (MIXED, (), "dd34fe2787e64f41943496a6b26f20ce1d3c194c3b241cffca013297751a47ce"),
        (MIXED, (3, 9), "7a891564ab484358a06bd4201a76b79e8c4d06eaaa915c5dc881dd31b8649306"),
    ],
    ids=["one range", "one range, failures", "mixed", "mixed, failures"],
)
def test_tpe_draws_what_it_always_drew(
    space: Mapping[str, Space], fails: Sequence[int], expected: str
) -> None:
    drawn = [dict(trial) for trial in drawn_by(search(space, "tpe"), fails)]
    assert hashlib.sha256(json.dumps(drawn).encode()).hexdigest() == expected


def count_of(sampler: Sampler) -> int:
    """A Gaussian process takes a second for each trial after the first eight."""
    return 10 if sampler == "gp" else 20


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_repeated_search_draws_the_same_trials_and_no_trial_twice(sampler: Sampler) -> None:
    space = RANGES if sampler == "cmaes" else MIXED
    trials = count_of(sampler)
    one = drawn_by(search(space, sampler, trials=trials), fails=(0,))
    # Whatever the process did before: a search of another arm, or with another sampler.
    drawn_by(search(space, "random", label="other"))
    assert drawn_by(search(space, sampler, trials=trials), fails=(0,)) == one
    assert len({json.dumps(dict(trial)) for trial in one}) == trials


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_was_drawn_before_is_not_drawn_again(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, trials = tmp_path / "draws.json", count_of(sampler)
    whole = drawn_by(search(RANGES, sampler, trials=trials), fails=(1,))
    first = search(RANGES, sampler, trials=trials, draws=(before := Draws(file)))
    drawn_by(first, fails=(1,), batches=2)
    before.save()
    # It goes on where it was interrupted.
    after = Draws(file)
    assert drawn_by(search(RANGES, sampler, trials=trials, draws=after), fails=(1,)) == whole
    after.save()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a trial was drawn again")

    if sampler in {"tpe", "gp"}:
        for kind in (optuna.samplers.TPESampler, optuna.samplers.GPSampler):
            monkeypatch.setattr(kind, "sample_relative", never)
        assert drawn_by(search(RANGES, sampler, trials=trials, draws=Draws(file)), fails=(1,)) == whole
        # Another value of an earlier trial is another search.
        with pytest.raises(AssertionError, match="drawn again"):
            drawn_by(search(RANGES, sampler, trials=trials, draws=Draws(file)), fails=(2,))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_label_of_an_arm_changes_no_trial(sampler: Sampler) -> None:
    found = [drawn_by(search(RANGES, sampler, trials=8, label=label)) for label in ("one", "other")]
    assert found[0] == found[1]


@pytest.mark.parametrize(("sampler", "trials", "late"), [("gp", 12, 4), ("cmaes", 40, 12)])
def test_samplers_that_learn_come_nearer_to_the_best_value(sampler: Sampler, trials: int, late: int) -> None:
    space = {name: RANGES[name] for name in ("gain", "train.learning_rate")}
    drawn = drawn_by(search(space, sampler, trials=trials))
    distances = [abs(math.log(float(str(trial["gain"])))) for trial in drawn]
    assert sum(distances[-late:]) / late < sum(distances[:8]) / 8


@pytest.mark.parametrize(
    "settings",
    ["{", "[]", "null", '[{"gain": 100}]', '[{"gain": "1"}]', '[{"gane": 1}]', '[{"gain": 1}, {"gain": 2}]'],
)
def test_settings_that_cannot_have_been_drawn_are_drawn_again(settings: str, tmp_path: Path) -> None:
    (file := tmp_path / "draws.json").write_text(f'{{"key": {settings}}}')
    assert Draws(file).find("key", 1, {"gain": GAIN}) is None
    file.write_text('{"key": [{"gain": 1.5}]}')
    assert Draws(file).find("key", 1, {"gain": GAIN}) == [{"gain": 1.5}]


def test_quasi_monte_carlo_covers_a_range_more_evenly_than_chance() -> None:
    gains = [float(str(trial["gain"])) for trial in drawn_by(search(RANGES, "qmc", trials=33))[1:]]
    eighths = {
        math.floor(8 * math.log(gain / GAIN.low) / math.log(GAIN.high / GAIN.low)) for gain in gains[:8]
    }
    assert len(eighths) == 8, "of eight points of the sequence each eighth holds one"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_in_which_every_trial_fails_has_as_many_trials(sampler: Sampler) -> None:
    found = search(RANGES, sampler, trials=10)
    assert len(drawn_by(found, fails=range(10))) == 10
    assert found.confirmed().abandoned == "each of the 10 trials of its search failed"


def test_a_value_that_is_not_finite_is_a_failure() -> None:
    found = search(RANGES, "tpe", trials=2)
    one, other = found.ask()
    found.tell({one.id: math.nan, other.id: -1.0})
    assert [trial.state for trial in found.finished] == ["failed", "complete"]
    assert found.winner() == (other.drawn, -1.0)


def test_a_package_that_a_sampler_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        samplers.importlib.util, "find_spec", lambda name: None if name == "cmaes" else find(name)
    )
    arm = Arm("product", "reference", "product", toy_config())
    found = ArmSearch(arm, RANGES, trials=4, batch=4, seeds=(1,), maximise=True, sampler="cmaes")
    with pytest.raises(FusionBenchError, match=r"pip install 'laconv-fusion-bench\[search\]'"):
        found.ask()
    assert samplers.missing_sampler_package("gp") == ""


def test_optuna_is_told_of_every_trial_and_state() -> None:
    found = search(RANGES, "tpe", trials=6)
    drawn_by(found, fails=(2,))
    states = [trial.state for trial in found.optuna_study.trials]
    assert states.count(optuna.trial.TrialState.FAIL) == 1
    assert states.count(optuna.trial.TrialState.COMPLETE) == 5
