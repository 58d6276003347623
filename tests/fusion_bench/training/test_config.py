"""The settings of a cell are stored as JSON, and its id depends on nothing else than what was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target
from fusion_bench.training.config import (
    BackboneConfig,
    CellConfig,
    CheckpointConfig,
    Component,
    DataConfig,
    FusionConfig,
    HeadConfig,
    TrainConfig,
)

PLAIN = CellConfig(
    data=DataConfig("nlvr", Component(Target("fusion_bench.data.nlvr:Nlvr", name="nlvr")), "1", (32, 128)),
    backbone=BackboneConfig("test_resnet"),
    text=Component(Target("fusion_bench.encoders.text:GruEncoder", name="gru")),
    fusion=FusionConfig(),
    arm=Component(Target("fusion_modules.film:FiLM", name="film")),
    kind="module",
    head=HeadConfig(),
    train=TrainConfig(),
    seed=0,
)
ELABORATE = CellConfig(
    data=DataConfig(
        "miniclevr",
        Component(
            Target("some.package:Adapter"), {"kinds": ["zero_hop", "one_hop"], "images": {"train": 10}}
        ),
        "2",
        (64, 96),
        longest_text=20,
    ),
    backbone=BackboneConfig("test_vit", layer=1, weights="file", weights_sha256="0" * 64, frozen=True),
    text=Component(Target("fusion_bench.encoders.text:GruEncoder", name="gru"), {"hidden": 32}),
    fusion=FusionConfig(width=32, depth=1, coordinates="none"),
    arm=Component(Target("file:Mine", "class Mine: ...\n"), {"strength": 0.5}),
    kind="module",
    head=HeadConfig(dropout=0.1, pool="max"),
    train=TrainConfig(epochs=2, learning_rate=1e-4, patience=3, precision="float32"),
    seed=1000,
    threads=2,
    evaluate=False,
)


def test_identities_are_frozen() -> None:
    """Finished cells are found by these ids, so a change here loses all of them and needs a reason."""
    assert PLAIN.id == "4483f3a42f2b2b05"
    assert ELABORATE.id == "28df3021b6210366"


def test_a_registered_class_is_identified_by_its_name_alone() -> None:
    moved = replace(PLAIN, arm=Component(Target("fusion_modules.modulation.film:FiLM", name="film")))
    by_path = replace(PLAIN, arm=Component(Target("fusion_modules.film:FiLM")))
    assert moved.id == PLAIN.id
    assert by_path.id != PLAIN.id
    assert moved.to_json()["arm"]["target"]["reference"] == "fusion_modules.modulation.film:FiLM"


@pytest.mark.parametrize("config", [PLAIN, ELABORATE], ids=["plain", "elaborate"])
def test_settings_survive_a_round_trip_through_json(config: CellConfig) -> None:
    back = CellConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert back == config
    assert back.id == config.id


def test_a_compiled_step_is_asked_for_and_an_ordinary_one_leaves_no_trace() -> None:
    """Its results differ by rounding, so compiled and ordinary cells are never taken for each other."""
    compiled = replace(PLAIN, train=replace(PLAIN.train, compile="reduce-overhead"))
    assert compiled.id != PLAIN.id
    assert CellConfig.from_json(compiled.to_json()) == compiled
    assert "compile" not in PLAIN.to_json()["train"]
    started = replace(PLAIN, start=PLAIN)
    assert "compile" not in started.to_json()["start"]["train"]


def test_a_default_written_out_does_not_change_the_identity() -> None:
    def without_defaults(value: Any) -> Any:
        return {
            key: without_defaults(item) if isinstance(item, dict) else item
            for key, item in value.items()
            if key not in {"threads", "evaluate", "longest_text", "dropout", "patience"}
        }

    shorter = without_defaults(PLAIN.to_json())
    assert shorter != PLAIN.to_json()
    assert CellConfig.from_json(shorter).id == PLAIN.id
    assert replace(PLAIN, train=TrainConfig(epochs=10)).id == PLAIN.id
    whole = {**PLAIN.to_json(), "train": {**PLAIN.to_json()["train"], "clip": 1}}
    assert CellConfig.from_json(whole).id == PLAIN.id, "1 and 1.0 are equal"


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, seed=1),
        replace(PLAIN, threads=2),
        replace(PLAIN, evaluate=False),
        replace(PLAIN, train=replace(PLAIN.train, learning_rate=2e-3)),
        replace(PLAIN, arm=replace(PLAIN.arm, settings={"hidden": 32})),
        replace(PLAIN, arm=Component(Target("fusion_modules.film:FiLM", "class FiLM: ...\n"))),
        replace(PLAIN, data=replace(PLAIN.data, version="2")),
        replace(PLAIN, data=replace(PLAIN.data, image_size=(128, 32))),
        replace(PLAIN, backbone=None),
        replace(PLAIN, fusion=replace(PLAIN.fusion, slot="uniform")),
    ],
)
def test_every_setting_changes_the_identity(other: CellConfig) -> None:
    assert other.id != PLAIN.id


@pytest.mark.parametrize("config", [PLAIN, ELABORATE], ids=["plain", "elaborate"])
def test_checkpoints_change_neither_the_identity_nor_what_is_stored_without_them(config: CellConfig) -> None:
    asked = replace(config, train=replace(config.train, checkpoint=CheckpointConfig(10.0)))
    assert asked != config
    assert asked.id == config.id
    assert asked.without_checkpoint() == config
    assert asked.to_json()["train"].pop("checkpoint") == {"minutes": 10.0}
    assert CellConfig.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert "checkpoint" not in json.dumps(config.to_json())
    assert CellConfig.from_json({**asked.to_json(), "train": config.to_json()["train"]}) == config
    # Nor does it in the settings of the cell that another one starts from.
    assert replace(config, start=asked).id == replace(config, start=config).id
    assert "checkpoint" not in json.dumps(replace(config, start=config).to_json())
    assert replace(config, start=asked).to_json()["start"] == asked.to_json()


def test_the_order_of_settings_does_not_change_the_identity() -> None:
    settings = dict(reversed(ELABORATE.data.adapter.settings.items()))
    adapter = replace(ELABORATE.data.adapter, settings=settings)
    assert replace(ELABORATE, data=replace(ELABORATE.data, adapter=adapter)).id == ELABORATE.id


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sede",), 1, "cell has an unknown key 'sede'"),
        (("train", "epochs"), "3", "cell.train.epochs must be of type int, not '3'"),
        (("train", "epochs"), True, "cell.train.epochs must be of type int, not True"),
        (("train", "precision"), "half", "cell.train.precision is 'half'; known: float32, bfloat16, auto"),
        (("backbone",), "resnet", "cell.backbone must be a mapping, not 'resnet'"),
    ],
)
def test_a_damaged_configuration_says_what_is_wrong(path: tuple[str, ...], value: Any, message: str) -> None:
    whole = json.loads(json.dumps(PLAIN.to_json()))
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(FusionBenchError) as caught:
        CellConfig.from_json(whole)
    assert str(caught.value) == message


def test_a_missing_key_is_named() -> None:
    whole = PLAIN.to_json()
    del whole["seed"]
    with pytest.raises(FusionBenchError, match="cell lacks 'seed'"):
        CellConfig.from_json(whole)
