"""Budgets: the counted costs, and the arms of a study with a budget."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.contract import Language, multiply_adds_of
from fusion_bench.errors import StudyFileError
from fusion_bench.results.collect import collect
from fusion_bench.spec.arms import with_settings
from fusion_bench.spec.budget import DEFAULT_WORDS, UNITS, FusionCosts, Match
from fusion_bench.spec.load import read_study
from fusion_bench.spec.smoke import smoke_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.training.config import CellConfig
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.slot import Slot, make_slot
from toys import STUDY as STUDY_OF_TOYS
from toys import study_file

# The counted cost


STUDY = """\
version: 1
name: fitted
data: {name: miniclevr, image_size: [32, 64], images: {train: 10, select: 5, evaluate: 5}, longest_text: 12}
backbone: {name: test_resnet, layer: 2}
text: {embedding: 8, hidden: 6}
fusion: {width: 16, depth: 2}
head: {width: 8}
arms:
  film: {module: film, hidden: 24}
  concat: {module: concat}
  wide: {module: "toys:Wider"}
  coarse: {module: "toys:Coarse"}
  product: {module: "toys:Product"}
  pinned: {module: concat, hidden: 256}
seeds: 3
controls: [question_only]
budget: {match: params}
"""


Load = Callable[..., Study]


def fusion_cost(config: CellConfig, match: Match, words: int = DEFAULT_WORDS) -> int:
    return FusionCosts().cost(config, match, words, {})


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(*overrides: str, text: str = STUDY) -> Study:
        (tmp_path / "s.yaml").write_text(text)
        return read_study(tmp_path / "s.yaml", overrides)

    return loaded


def cost(study: Study, label: str) -> int:
    arm = next(arm for arm in study.arms if arm.label == label)
    slot = make_slot(arm.config, map_channels=48, language_dim=12)
    return sum(parameter.numel() for parameter in slot.parameters())


def test_every_arm_with_a_free_width_costs_what_the_reference_does(load: Load) -> None:
    study = load()
    assert study.budget is not None
    target = cost(study, "film")
    assert study.budget.target == target
    for arm in study.arms:
        assert arm.budget_match is not None and arm.budget_match.distance is not None
        assert arm.budget_match.distance == pytest.approx(cost(study, arm.label) / target - 1)
    distances = {arm.label: arm.budget_match.distance for arm in study.arms if arm.budget_match is not None}
    assert all(abs(distances[label] or 0) < 0.02 for label in ("film", "concat", "wide"))
    assert {arm.label: arm.budget_match.unranked for arm in study.arms if arm.budget_match} == {
        "film": "",
        "concat": "",
        "wide": "",
        "coarse": "no value of hidden is nearer to the budget",
        "product": "it has no width to match",
        "pinned": "the study fixes its hidden",
        "question_only": "",
    }


@pytest.mark.parametrize(("label", "step", "minimum"), [("concat", 4, 4), ("wide", 2, 2), ("coarse", 64, 64)])
def test_no_other_width_comes_nearer(load: Load, label: str, step: int, minimum: int) -> None:
    study = load()
    arm = next(arm for arm in study.arms if arm.label == label)
    target = cost(study, "film")

    def distance(width: int) -> int:
        return abs(fusion_cost(with_settings(arm.config, {"hidden": width}), "params") - target)

    assert arm.factors["hidden"] == min(range(minimum, 300, step), key=distance)


def test_the_width_is_among_the_settings_and_part_of_the_identity(load: Load) -> None:
    concat, plain = (
        next(a for a in load(*o).arms if a.label == "concat") for o in ((), ("budget.match=none",))
    )
    assert concat.factors == {"hidden": concat.config.arm.settings["hidden"]}
    assert plain.factors == plain.config.arm.settings == {}
    assert concat.config.id != plain.config.id


def test_without_a_match_nothing_changes(load: Load) -> None:
    study, without = load("budget.match=none"), load(text=STUDY.replace("budget: {match: params}\n", ""))
    assert [arm.config.id for arm in study.arms] == [arm.config.id for arm in without.arms]
    assert study.budget is None and all(arm.budget_match is None for arm in study.arms)


def test_the_reference_stays_as_it_is_written(load: Load) -> None:
    study = load("reference=concat")
    concat = next(arm for arm in study.arms if arm.label == "concat")
    assert (
        concat.config.arm.settings == {}
        and concat.budget_match is not None
        and concat.budget_match.distance == 0
    )
    film = next(arm for arm in study.arms if arm.label == "film")
    assert film.config.arm.settings == {"hidden": 24}


def test_mixers_and_depth_belong_to_the_budget(load: Load) -> None:
    mixed = load("fusion.slot=uniform")
    assert mixed.budget is not None and mixed.budget.target == cost(mixed, "film")
    assert load("fusion.depth=1").budget.target < load().budget.target < mixed.budget.target  # type: ignore[union-attr]
    slot = make_slot(mixed.arms[1].config, map_channels=48, language_dim=12)
    assert isinstance(slot, Slot) and len(slot.mixing) == 2


MANY = """\
  laconv: {module: laconv}
  block: {module: block}
  mcan: {module: mcan}
  ban: {module: ban}
  mac: {module: mac}
  late: {module: late_concat}
  net: {network: "toys:TinyNetwork"}
seeds: 3
"""


@pytest.mark.parametrize("slot", ["published", "uniform"])
@pytest.mark.parametrize("match", ["params", "flops"])
def test_the_sum_over_the_parts_is_the_cost_of_the_whole(load: Load, match: Match, slot: str) -> None:
    study = load(f"fusion.slot={slot}", "budget.match=none", text=STUDY.replace("seeds: 3\n", MANY))
    costs = FusionCosts()
    for arm in study.arms:
        network = arm.config.kind == "network"
        whole = make_slot(arm.config, map_channels=48, language_dim=12)
        visual, words = (
            torch.zeros(1, 3, 32, 64) if network else torch.zeros(1, 48, 4, 8),
            torch.zeros(1, 5, 12),
        )
        language = Language(words, torch.ones(1, 5, dtype=torch.bool), words[:, 0])
        expected = (
            sum(parameter.numel() for parameter in whole.parameters())
            if match == "params"
            else multiply_adds_of(whole, visual, language)
        )
        assert costs.cost(arm.config, match, 5, {}) == expected, arm.label
        assert costs.cost(arm.config, match, 5, {}) == expected, "the same from memory"


def test_contexts_share_the_modules_that_were_counted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def counted(axis: str, _: int) -> AbstractContextManager[None]:
        built.append(axis)
        return nullcontext()

    monkeypatch.setattr("fusion_bench.spec.budget.seeded_rng", counted)

    def modules_built(*overrides: str) -> int:
        built.clear()
        load(*overrides)
        return len(built)

    alone = modules_built()
    assert alone > 10
    assert modules_built("contexts={mean: {head.pool: mean}, hidden: {head.hidden: 12}}") == alone
    mixed = modules_built("contexts={mixed: {fusion.slot: uniform}}")
    assert mixed < alone + modules_built("fusion.slot=uniform")


def test_multiply_adds_are_matched_at_the_longest_text(load: Load) -> None:
    study = load("budget.match=flops", "budget.tolerance=0.2")
    assert study.budget is not None and study.budget.words == 12
    for arm in study.arms:
        assert arm.budget_match is not None
        found = fusion_cost(arm.config, "flops", 12)
        assert arm.budget_match.distance == pytest.approx(found / study.budget.target - 1)
    assert load("data.longest_text=null", "budget.match=flops").budget.words == DEFAULT_WORDS  # type: ignore[union-attr]


# Mistakes, searches and reports


def mistakes(load: Load, *overrides: str, text: str = STUDY) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        load(*overrides, text=text)
    return [re.sub(r"^\S+/s\.yaml, ", "", line) for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.tolerance=0", "budget.tolerance: must be greater than 0, not 0"),
        ("budget.tolerance=1", "budget.tolerance: must be less than 1, not 1"),
        (
            "budget.match=flop",
            "budget.match: must be 'none', 'params' or 'flops', not 'flop' (did you mean 'flops'?)",
        ),
        ("budget.to=3", "budget.to: unknown key"),
    ],
)
def test_wrong_values_are_refused(load: Load, override: str, message: str) -> None:
    (found,) = mistakes(load, override)
    assert message in f"budget.{found.removeprefix('--set budget.')}"


def test_a_reference_whose_cost_cannot_be_counted_is_a_mistake(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncountable(*_: object) -> int:
        raise NotImplementedError("no formula for this operation")

    monkeypatch.setattr(FusionCosts, "cost", uncountable)
    (found,) = mistakes(load)
    assert found.startswith("line 17: budget.match: the cost of the reference 'film' cannot be counted: ")


def test_a_layer_that_the_backbone_lacks_is_one_mistake(load: Load) -> None:
    (found,) = mistakes(load, "backbone.layer=99")
    assert found.startswith("--set backbone.layer: the backbone 'test_resnet' has no layer 99; its 5 layers")


def test_arms_that_become_equal_are_a_mistake(load: Load) -> None:
    hidden = next(arm for arm in load().arms if arm.label == "concat").factors["hidden"]
    assert mistakes(load, f"arms.pinned.hidden={hidden}") == [
        "line 14: arms.pinned: 'pinned' at the matched budget is the same as 'concat'; leave one of them out"
    ]


def test_a_matched_width_leaves_the_search_space(load: Load) -> None:
    search = "search={trials: 2}"
    matched, free = load(search), load(search, "budget.match=none")
    assert matched.search is not None and free.search is not None
    assert set(free.search.spaces["concat"]) == {"hidden", "dropout"}
    assert set(matched.search.spaces["concat"]) == {"dropout"}
    assert set(matched.search.spaces["question_only"]) == {"hidden"}, "controls are not matched"
    assert mistakes(load, "search={trials: 2, space: {hidden: [8, 16]}}") == [
        "--set search: search.space.hidden: is chosen by budget.match for concat, wide, coarse, so it cannot be "
        "searched too; leave it out here"
    ]
    assert mistakes(load, "search={trials: 2, space: {fusion.slot: [published, uniform]}}") == [
        "--set search: search.space.fusion.slot: cannot be searched, because a table never mixes slots; write it "
        "under vary instead"
    ]


def test_every_trial_of_a_search_keeps_the_budget(load: Load) -> None:
    study = load("search={trials: 4, space: {fusion.depth: [1, 2]}}", "arms.film={module: film}")
    assert study.search is not None and study.budget is not None
    for arm in study.arms:
        if arm.label in {"film", "concat", "wide"}:
            found = ArmSearch(
                arm,
                study.search.space_of(arm),
                trials=4,
                batch=4,
                seeds=(9,),
                maximise=True,
                matched=study.matched,
            )
            cells = found.ask()
            assert {cell.config.fusion.depth for cell in cells} == {1, 2}
            for cell in cells:
                assert fusion_cost(cell.config, "params") == pytest.approx(study.budget.target, rel=0.1)
            found.tell({cell.id: float(cell.config.fusion.depth == 1) for cell in cells})
            winner = found.confirmed()
            assert winner.budget_match is not None and winner.budget_match.distance == pytest.approx(
                fusion_cost(winner.config, "params") / study.budget.target - 1
            )
            assert winner.factors["hidden"] == winner.config.arm.settings["hidden"]


def test_a_trial_that_costs_the_same_is_not_solved_again(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load()
    monkeypatch.setattr("fusion_bench.spec.budget.solve_width", None)
    for arm in study.arms:
        faster = replace(arm, config=with_settings(arm.config, {"train.learning_rate": 0.5}))
        assert study.matched(faster) == faster


def test_a_smoke_run_has_the_same_widths_and_four_arms_beside_the_reference(load: Load) -> None:
    study = load()
    toys = {arm.label: arm.config.arm for arm in smoke_study(study).arms}
    kept = [arm for arm in study.arms if arm.label in toys]
    assert all(toys[arm.label] == arm.config.arm for arm in kept)
    others = [arm.label for arm in study.arms if arm.role == "arm"]
    assert [arm.label for arm in kept if arm.role == "arm"] == others[:4] != others
    assert {arm.label for arm in study.arms if arm.role != "arm"} <= set(toys)


RUN = """
arms:
  wide: {module: "toys:Wider", hidden: 20}
  mixed: {module: "toys:Wider", fusion: {slot: uniform}}
  product: {module: "toys:Product"}
seeds: [0]
"""


@pytest.mark.parametrize("match", ["params", "flops"])
def test_the_planned_cost_is_the_cost_of_the_trained_arms(tmp_path: Path, match: str) -> None:
    """The questions of `Squares` have three words, so that the plan counts the same cost as the cells."""
    text = STUDY_OF_TOYS.partition("arms:")[0].replace("[32, 32]", "[32, 32], longest_text: 3")
    study = read_study(study_file(tmp_path, text + RUN + f"budget: {{match: {match}, tolerance: 0.1}}\n"))
    paths = RunPaths(tmp_path / "runs", {}, {})
    settings = WorkerSettings(paths, 0, threads=1)
    StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    results = collect(study, paths)
    assert (results.budget, results.tolerance) == (UNITS[study.budget.match], 0.1)  # type: ignore[union-attr]
    assert dict(results.setup)["Budget"] == study.budget.sentence()  # type: ignore[union-attr]
    name = "fusion_parameters" if match == "params" else "fusion_multiply_adds"
    wide, *_ = results.arms
    for arm in results.arms:
        assert arm.budget_distance == pytest.approx(getattr(arm, name) / getattr(wide, name) - 1)
    assert [bool(arm.unranked) for arm in results.arms] == [False, True, True]
    assert results.arms[1].factors == {"fusion.slot": "uniform", "hidden": 2}
    assert "(a factor of this study)" in dict(results.setup)["Slot"]
    (caution,) = [caution for caution in results.cautions if "slot" in caution]
    assert "(published: wide, product; uniform: mixed)" in caution


def test_slots_may_be_varied_but_networks_have_none(load: Load) -> None:
    text = STUDY.partition("arms:")[0] + (
        "vary: {base: {module: concat}, one_at_a_time: {fusion.slot: [published, uniform]}}\nseeds: 1\n"
    )
    arms = load(text=text).arms
    assert [(arm.label, arm.config.fusion.slot) for arm in arms[:2]] == [
        ("base", "published"),
        ("fusion.slot=uniform", "uniform"),
    ]
    assert mistakes(load, "arms.product={network: 'toys:TinyNetwork', fusion: {slot: uniform}}") == [
        "--set arms.product: arms.product.fusion.slot: a network has no slot; leave this out"
    ]
