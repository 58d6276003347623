"""Arms, variations, controls and search spaces are resolved from a few lines of a study file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import study_fakes
from fusion_bench.contract import Choice, Float, Int, Space
from fusion_bench.errors import StudyFileError
from fusion_bench.spec.arms import with_settings
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from study_fakes import Film, fake_catalogue

HEAD = """\
version: 1
name: test
data: {name: mini, image_size: [64, 96]}
backbone: {name: test_resnet}
seeds: 2
controls: false
"""
Load = Callable[..., Study]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A function that reads ``HEAD`` and some more lines as a study."""

    def loaded(more: str, *overrides: str) -> Study:
        (tmp_path / "s.yaml").write_text(HEAD + more)
        return read_study(tmp_path / "s.yaml", overrides, catalogue=fake_catalogue())

    return loaded


def mistakes(load: Load, more: str, *overrides: str) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        load(more, *overrides)
    return [re.sub(r"^\S+/s\.yaml, ", "", line) for line in str(caught.value).splitlines()]


ABLATION = """\
vary:
  base: {module: film, hidden: 32}
  one_at_a_time:
    kernel_size: [3, 5]
    fusion.depth: [1]
  grid:
    norm: [batch, none]
    head.pool: [max_mean, max]
"""


def test_vary_gives_variations_of_a_base_arm(load: Load) -> None:
    study = load(ABLATION)
    assert [arm.label for arm in study.arms] == [
        "base",
        "kernel_size=5",
        "fusion.depth=1",
        "head.pool=max",
        "norm=none",
        "norm=none, head.pool=max",
    ]
    assert study.reference == "base"
    assert [arm.role for arm in study.arms] == ["reference", *["arm"] * 5]


def test_a_varied_arm_names_the_value_of_every_varied_key(load: Load) -> None:
    study = load(ABLATION)
    factors = {arm.label: arm.factors for arm in study.arms}
    assert factors["base"] == {
        "kernel_size": 3, "fusion.depth": 2, "norm": "batch", "head.pool": "max_mean",
    }  # fmt: skip
    assert factors["norm=none, head.pool=max"] == {
        "kernel_size": 3, "fusion.depth": 2, "norm": "none", "head.pool": "max",
    }  # fmt: skip


def test_a_variation_changes_its_own_keys_and_nothing_else(load: Load) -> None:
    base, kernel, depth, pool, *_ = (arm.config for arm in load(ABLATION).arms)
    assert kernel == replace(base, arm=replace(base.arm, settings={"hidden": 32, "kernel_size": 5}))
    assert depth == replace(base, fusion=replace(base.fusion, depth=1))
    assert pool == replace(base, head=replace(base.head, pool="max"))


def test_settings_of_the_text_encoder_can_vary(load: Load) -> None:
    study = load("vary: {base: {module: film}, one_at_a_time: {text.sentence: [last, attention]}}")
    assert [arm.label for arm in study.arms] == ["base", "text.sentence=attention"]
    assert study.arms[1].config.text.settings == {"sentence": "attention"}


def test_mistakes_in_vary_cite_the_value(load: Load) -> None:
    assert mistakes(
        load,
        """\
vary:
  base: {module: film}
  one_at_a_time:
    kernal_size: [3, 5]
    kernel_size:
      - 5
      - 4
      - "7"
    fusion.detph: [1]
    data.seed: [1]
  grid:
    head.pool: [max, sum]
""",
    ) == [
        "line 10: vary.one_at_a_time.kernal_size: unknown key (did you mean 'kernel_size'?)",
        "line 13: vary.one_at_a_time.kernel_size[1]: Film refuses these settings: kernel_size must be odd, not 4",
        "line 14: vary.one_at_a_time.kernel_size[2]: must be a whole number, not '7' (write 7 without quotes)",
        "line 15: vary.one_at_a_time.fusion.detph: unknown key (did you mean 'depth'?)",
        "line 16: vary.one_at_a_time.data.seed: 'data' cannot vary between arms; "
        "write backbone, text, fusion, head, train or a setting",
        "line 18: vary.grid.head.pool[1]: must be 'max_mean', 'max' or 'mean', not 'sum'",
    ]


def test_a_grid_with_too_many_arms_is_refused(load: Load) -> None:
    values = ", ".join(map(str, range(1, 40)))
    more = f"vary: {{base: {{module: film}}, grid: {{hidden: [{values}], fusion.width: [{values}]}}}}"
    assert mistakes(load, more) == ["line 7: vary: gives more than 500 arms; list fewer values"]


def test_controls_are_added_after_the_arms(load: Load) -> None:
    study = load("arms: {film: {module: film}}", "controls=[question_only, image_only]")
    assert [(arm.label, arm.role) for arm in study.arms] == [
        ("film", "reference"),
        ("question_only", "control"),
        ("image_only", "control"),
    ]


def test_an_arm_may_override_training_and_depth(load: Load) -> None:
    study = load("arms: {a: {module: film}, b: {module: film, train: {epochs: 3}, fusion: {depth: 1}}}")
    first, second = (arm.config for arm in study.arms)
    assert second == replace(
        first, train=replace(first.train, epochs=3), fusion=replace(first.fusion, depth=1)
    )
    assert study.arms[1].factors == {"train.epochs": 3, "fusion.depth": 1}


def test_a_network_has_no_backbone_and_no_slot(load: Load) -> None:
    study = load("arms: {net: {network: net, size: B}}\nfusion: {width: 32}", "backbone=null")
    config = study.arms[0].config
    assert config.kind == "network"
    assert config.backbone is None
    assert config.fusion.width == 64, "the slot's width is not among the settings of a network"


def test_two_arms_with_equal_settings_are_refused_also_where_a_default_is_written_out(load: Load) -> None:
    assert mistakes(load, "arms:\n  a: {module: film}\n  b: {module: film, kernel_size: 3, scale: 1}\n") == [
        "line 9: arms.b: 'b' is the same as the arm 'a'; change its settings, or leave one of them out"
    ]
    assert mistakes(load, "arms:\n  a: {module: image_only}\n", "controls=[image_only]") == [
        "--set controls: controls[0]: 'image_only' is the same as the arm 'a'; leave it out of controls"
    ]
    assert mistakes(load, "arms:\n  image_only: {module: film}\n", "controls=[image_only]") == [
        "--set controls: controls[0]: the arm 'image_only' has the label of this control; rename the arm, or leave "
        "the control out"
    ]


def test_a_null_arm_drops_one_of_the_extended_file(load: Load, tmp_path: Path) -> None:
    load("arms: {film: {module: film}, plain: {module: plain}}")
    (tmp_path / "child.yaml").write_text("extends: s.yaml\nname: child\narms: {film: null}\n")
    study = read_study(tmp_path / "child.yaml", catalogue=fake_catalogue())
    assert [arm.label for arm in study.arms] == ["plain"]
    study = load("arms: {film: {module: film}, plain: {module: plain}}", "arms.film=null")
    assert [arm.label for arm in study.arms] == ["plain"]


SAYS_NOTHING = (
    "says nothing; write what the arm is, for example {module: film}, or leave it out (null drops an arm of an "
    "extended file, and no extended file has this one)"
)


@pytest.mark.parametrize(
    ("arms", "overrides", "message"),
    [
        ("{film: null}", (), f"line 7: arms.film: {SAYS_NOTHING}"),
        ("{film: {module: film}, plain: }", (), f"line 7: arms.plain: {SAYS_NOTHING}"),
        ("{film: {module: film}}", ("arms.plain=null",), f"--set arms.plain: {SAYS_NOTHING}"),
        ("{film: {}}", (), "line 7: arms.film: must name a class; write either module: or network:"),
        (
            "{film: {module: null}}",
            (),
            "line 7: arms.film: must name a class; write either module: or network:",
        ),
        (
            "{film: {module: film}}",
            ("arms.film=null",),
            "line 7: arms: there is nothing to compare; write at least one arm",
        ),
        ("null", (), "line 1: there is nothing to compare; write arms or vary"),
    ],
)
def test_an_arm_that_says_nothing_is_refused(
    load: Load, arms: str, overrides: tuple[str, ...], message: str
) -> None:
    assert mistakes(load, f"arms: {arms}\n", *overrides) == [message]


SEARCH = """\
arms:
  film: {module: film, norm: none}
  plain: {module: plain}
search:
  trials: 4
  space:
    kernel_size: [3, 5]
    scale: {low: 0, high: 2}
    train.learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""


def test_a_search_changes_the_modules_own_space_and_what_the_study_names(load: Load) -> None:
    study = load(SEARCH)
    assert study.search is not None
    assert study.search.seeds == (1000,)
    rate = Float(1e-4, 1e-2, log=True)
    assert study.search.space_of(study.arms[0]) == {
        "hidden": Int(16, 128, log=True),
        "scale": Float(0.0, 2.0),
        "kernel_size": Choice((3, 5)),
        "train.learning_rate": rate,
    }
    assert study.search.space_of(study.arms[1]) == {"train.learning_rate": rate}


def test_mistakes_in_a_search_space_cite_their_line(load: Load) -> None:
    more = """\
arms: {film: {module: film}}
search:
  trials: 2
  seeds: [1, 1000]
  space:
    kernal_size: [3]
    kernel_size: [3, "5"]
    scale: {low: 2, high: 1}
    hidden: {low: 1.5, high: 8}
    norm: {low: 1, high: 2}
    train.weight_decay: {low: 0, high: 1, log: true}
    train.clip: {low: 1, high: 2, step: 1}
    head.pool: [max]
"""
    assert mistakes(load, more) == [
        "line 10: search.seeds: 1 is also among the study's seeds; write other seeds for the search",
        "line 12: search.space.kernal_size: unknown key (did you mean 'kernel_size'?)",
        "line 13: search.space.kernel_size[1]: must be a whole number, not '5' (write 5 without quotes)",
        "line 14: search.space.scale: low must be less than high, not 2 and 1",
        "line 15: search.space.hidden.low: must be a whole number, not 1.5",
        "line 16: search.space.norm.low: must be 'batch', 'layer' or 'none', not 1",
        "line 16: search.space.norm.high: must be 'batch', 'layer' or 'none', not 2",
        "line 17: search.space.train.weight_decay: low must be greater than 0 on a logarithmic scale, not 0",
        "line 18: search.space.train.clip.step: is for whole numbers only; leave it out",
        "line 19: search.space.head.pool: 'head' cannot vary between arms; write train, fusion or a setting",
    ]


def test_with_settings_applies_the_values_of_a_trial(load: Load) -> None:
    config = load(SEARCH).arms[0].config
    changed = with_settings(config, {"kernel_size": 5, "scale": 1.0, "train.learning_rate": 0.01})
    assert changed.arm.settings == {"norm": "none", "kernel_size": 5}, "scale equals its default"
    assert changed.train.learning_rate == 0.01
    assert with_settings(changed, {"kernel_size": 3, "train.learning_rate": 1e-3}) == config
    with pytest.raises(StudyFileError, match="kernel_size"):
        with_settings(config, {"kernel_size": "5"})
    with pytest.raises(StudyFileError, match=r"fusion.depth does not accept 'x': depth: Input should be"):
        with_settings(config, {"fusion.depth": "x"})


def test_with_settings_reads_each_spelling_as_the_same_value(load: Load) -> None:
    config = load(SEARCH).arms[0].config
    one = with_settings(config, {"scale": 2, "train.weight_decay": 0, "train.clip": 3, "train.patience": 2})
    other = with_settings(
        config, {"scale": 2.0, "train.weight_decay": 0.0, "train.clip": 3.0, "train.patience": 2}
    )
    assert one.id == other.id
    assert one.to_json() == other.to_json()


class WrongSpace(Film):
    """A module whose declared space has a value that its constructor does not take."""

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {"hidden": Choice((8, 16.5))}


class EmptyRange(Film):
    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {"scale": Float(1.0, float("inf"))}


class UnknownSetting(Film):
    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {"hiden": Int(1, 2)}


class NoSpace(Film):
    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        raise KeyError("no space")


class WholeNumbers(Film):
    """A module that declares whole numbers for a setting that is a real number."""

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {"scale": Choice((0, 1))}


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (WrongSpace, "hidden"),
        (EmptyRange, "scale has no values between 1.0 and inf"),
        (UnknownSetting, "hiden"),
        (NoSpace, "no space"),
    ],
)
def test_a_declared_space_that_cannot_be_drawn_from_is_refused_before_anything_trains(
    load: Load, monkeypatch: pytest.MonkeyPatch, cls: type[Film], reason: str
) -> None:
    monkeypatch.setattr(study_fakes, "Film", cls)
    (line,) = mistakes(load, "arms: {film: {module: film}}\nsearch: {trials: 2}\n")
    assert line.startswith("line 7: arms.film: ")
    assert cls.__name__ in line
    assert reason in line
    load("arms: {film: {module: film}}\nsearch: {trials: 2, declared: false, space: {kernel_size: [3, 5]}}\n")


def test_a_declared_space_is_read_as_the_constructor_reads_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_fakes, "Film", WholeNumbers)
    search = load("arms: {film: {module: film}}\nsearch: {trials: 2}\n").search
    assert search is not None
    (space,) = search.spaces["film"].values()
    assert isinstance(space, Choice)
    assert [type(value) for value in space.values] == [float, float]
