"""Whatever would make the pairing of two reports wrong is refused with both values; what does not matter is noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_bench.comparing.agreement import NotPairableError
from fusion_bench.comparing.compare import compare_reports
from fusion_bench.training.config import BackboneConfig, CellConfig, FusionConfig, HeadConfig
from paired_reports import DrawnReport

BASE = DrawnReport("base", {"laconv": 0.8, "film": 0.75})
NEW = DrawnReport("new", {"mine": 0.7})


def refused(one: DrawnReport, other: DrawnReport, folder: Path) -> str:
    with pytest.raises(NotPairableError) as found:
        compare_reports([one.write(folder), other.write(folder)])
    message = str(found.value)
    assert "the arms of base and new cannot be paired" in message
    assert len(message) < 900 and "\n" not in message
    return message


def noted(one: DrawnReport, other: DrawnReport, folder: Path) -> tuple[str, ...]:
    return compare_reports([one.write(folder), other.write(folder)]).notes


ORIGINS: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "data": ({"data": "e" * 64}, "d" * 16, "e" * 16),
    "numerics": ({"numerics": "o" * 16}, "n" * 16, "o" * 16),
    "device kind": ({"device_kind": "cuda"}, "cpu in base", "cuda in new"),
    "torch": ({"torch": "2.15.0+cpu"}, "2.14.1+cpu", "2.15.0+cpu"),
    "timm": ({"timm": "1.1.0"}, "1.0.31", "1.1.0"),
}


@pytest.mark.parametrize("what", ORIGINS)
def test_another_origin_is_refused_with_both_values(what: str, tmp_path: Path) -> None:
    changes, one, other = ORIGINS[what]
    message = refused(BASE, replace(NEW, origin=changes), tmp_path)
    assert one in message and other in message


def test_other_weights_of_the_backbone_are_refused(tmp_path: Path) -> None:
    one, other = (
        replace(side, origin={"weights_file": digest}) for side, digest in ((BASE, "a" * 64), (NEW, "b" * 64))
    )
    assert "the weights of the backbone differ" in refused(one, other, tmp_path)


Change = Callable[[CellConfig], CellConfig]
SETTINGS: Mapping[str, tuple[Change, str]] = {
    "slot": (
        lambda config: replace(config, fusion=FusionConfig(width=8, depth=2)),
        "fusion.depth differs: 1 in",
    ),
    "head": (
        lambda config: replace(config, head=HeadConfig(width=8, hidden=32)),
        "head.hidden differs: 16 in",
    ),
    "backbone": (lambda config: replace(config, backbone=BackboneConfig("resnet")), "backbone"),
    "words": (
        lambda config: replace(config, text=replace(config.text, settings={"size": 3})),
        "text.size differs: its default in base, 3 in new",
    ),
    "images": (
        lambda config: replace(config, data=replace(config.data, image_size=(8, 8))),
        "data.image_size differs: [4,4] in base, [8,8] in new",
    ),
    "threads": (lambda config: replace(config, threads=2), "threads differs: 1 in base, 2 in new"),
    "start": (lambda config: replace(config, start=replace(config, seed=0)), "start"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_other_surroundings_are_refused(what: str, tmp_path: Path) -> None:
    change, expected = SETTINGS[what]
    assert f"the setting {expected}" in refused(BASE, replace(NEW, change=change), tmp_path)


def test_another_training_is_refused(tmp_path: Path) -> None:
    message = refused(BASE, replace(NEW, train={"epochs": 9}), tmp_path)
    assert "the setting train.epochs differs: 3 in base, 9 in new" in message


def test_a_setting_in_which_an_arm_differs_as_its_study_says_belongs_to_the_arm(tmp_path: Path) -> None:
    one = replace(BASE, factors={"film": {"train.epochs": 9}})
    assert noted(one, NEW, tmp_path) == ()


def test_a_search_of_one_study_alone_is_refused(tmp_path: Path) -> None:
    rate = "train.learning_rate"
    searched = {arm: {rate: value} for arm, value in (("laconv", 0.1), ("film", 0.2))}
    one = replace(BASE, factors=searched, searched=[rate])
    message = refused(one, NEW, tmp_path / "one")
    assert "train.learning_rate in base, nothing in new" in message
    both = replace(NEW, factors={"mine": {rate: 0.4}}, searched=[rate])
    assert noted(one, both, tmp_path / "both") == ()


def test_other_seeds_are_refused(tmp_path: Path) -> None:
    message = refused(BASE, replace(NEW, seeds=(0, 1, 2, 3)), tmp_path)
    assert "0, 1, 2 in base, 0, 1, 2, 3 in new" in message


def test_another_metric_or_budget_is_refused(tmp_path: Path) -> None:
    other = replace(NEW, results={"primary_split": "val"})
    assert "test accuracy in base, val accuracy in new" in refused(BASE, other, tmp_path / "metric")
    matched = replace(NEW, results={"budget": "parameters", "tolerance": 0.05})
    assert "the budget that arms are matched to differs: none in base" in refused(
        BASE, matched, tmp_path / "b"
    )


def _fewer(samples: pd.DataFrame) -> pd.DataFrame:
    return samples[samples["sample"] != "q007"]


SAMPLES: Mapping[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "ids": (
        _fewer,
        "120 in base and 119 in new); 1 sample of base are not in the other, such as q007 of test",
    ),
    "clusters": (
        lambda samples: samples.assign(cluster=samples["cluster"].mask(samples["sample"] == "q007", "i00")),
        "the cluster of sample q007 of test differs: i03 in base, i00 in new",
    ),
    "truth": (
        lambda samples: samples.assign(truth=samples["truth"].mask(samples["sample"] == "q007", "no")),
        "the truth of sample q007 of test differs: yes in base, no in new",
    ),
    "slices": (
        lambda samples: samples.assign(kind=samples["kind"].mask(samples["sample"] == "q007", "shape")),
        "the kind of sample q007 of test differs: count in base, shape in new",
    ),
}


@pytest.mark.parametrize("what", SAMPLES)
def test_other_samples_are_refused_by_name(what: str, tmp_path: Path) -> None:
    alter, expected = SAMPLES[what]

    def scored(samples: pd.DataFrame) -> pd.DataFrame:
        altered = alter(samples)
        right = altered["prediction"] == altered["truth"]
        return altered.assign(score=right.astype(float))

    assert expected in refused(BASE, replace(NEW, alter=scored), tmp_path)


def test_a_patch_of_torch_and_another_processor_are_noted(tmp_path: Path) -> None:
    notes = noted(BASE, replace(NEW, origin={"torch": "2.14.2+cu130", "device": "Processor B"}), tmp_path)
    assert notes == (
        "Torch differs: 2.14.1+cpu in base, 2.14.2+cu130 in new.",
        "The processor differs: Processor A in base, Processor B in new.",
    )


def test_another_margin_is_noted(tmp_path: Path) -> None:
    (note,) = noted(BASE, replace(NEW, results={"margin": 0.02}), tmp_path)
    assert "that of base counts: none" in note


def old(report: DrawnReport, **changes: Any) -> DrawnReport:
    return replace(report, with_cells=False, **changes)


def test_reports_without_cells_are_compared_by_their_sentences(tmp_path: Path) -> None:
    (note,) = noted(old(BASE), NEW, tmp_path / "same")
    assert "base was published without cells; the surroundings were compared by the sentences" in note
    message = refused(old(BASE), replace(NEW, train={"epochs": 9}), tmp_path / "other")
    assert 'the setup under "Training" differs: "{}" in base, "{\'epochs\': 9}" in new' in message


def test_a_shared_cell_shows_that_the_surroundings_are_the_same(tmp_path: Path) -> None:
    reworded = {"setup": (("Training", "said in other words"),)}
    one = old(BASE, skill={**NEW.skill, "film": 0.75}, results=reworded)
    (note,) = noted(one, old(NEW), tmp_path)
    assert "the reports share 3 cells with the same id" in note


def test_a_device_whose_kind_is_not_recorded_must_be_the_same_device(tmp_path: Path) -> None:
    message = refused(old(BASE, origin={"device": "A GPU"}), NEW, tmp_path)
    assert "base does not record whether it ran on a CPU or a GPU" in message
    assert "A GPU in base, Processor A in new" in message


def test_a_shared_cell_of_an_arm_that_differs_in_its_surroundings_shows_nothing(tmp_path: Path) -> None:
    """In one study more epochs are what an arm is about; in the other they are what surrounds all arms."""
    one = DrawnReport("base", {"laconv": 0.8, "long": 0.7}, factors={"long": {"train.epochs": 9}})
    other = DrawnReport("new", {"long": 0.7, "mine": 0.6}, train={"epochs": 9})
    assert one.config("long", 0).id == other.config("long", 0).id
    refused(old(one), old(other), tmp_path)
    assert "train.epochs differs: 3 in base, 9 in new" in refused(one, other, tmp_path / "exact")
