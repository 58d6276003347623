"""Study files as a whole: a correct file gives a study, and a wrong one gives all its mistakes at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.spec.study import Expected
from fusion_bench.training.config import (
    BackboneConfig,
    CellConfig,
    FusionConfig,
    HeadConfig,
    TrainConfig,
)
from study_fakes import GOOD, Load


def mistakes(load: Load, text: str, *overrides: str) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        load(text, *overrides)
    return [re.sub(r"^\S+/s\.yaml, ", "", line) for line in str(caught.value).splitlines()]


def test_a_good_study_is_resolved_to_the_settings_of_its_cells(load: Load) -> None:
    study = load(GOOD)
    film = study.arms[0].config
    assert film.data.name == "mini"
    assert (film.data.image_size, film.data.longest_text) == ((64, 96), 12)
    assert film.data.adapter.settings == {"kinds": ["zero_hop", "one_hop"]}
    assert film.backbone == BackboneConfig("test_resnet.r160_in1k", 2, "pretext", None, frozen=True)
    assert film.text.settings == {"hidden": 128}, "a setting equal to the encoder's default is left out"
    assert film.fusion == FusionConfig(width=32)
    assert film.arm.target.reference == "study_fakes:Film"
    assert film.arm.settings == {"kernel_size": 5}, "a setting equal to the module's default is left out"
    assert film.train == TrainConfig(epochs=3, learning_rate=1e-4)
    assert (film.seed, film.threads, film.evaluate) == (0, 2, True)
    assert CellConfig.from_json(json.loads(json.dumps(film.to_json()))) == film

    assert (study.name, study.title, study.task) == ("good", "Scale and shift against nothing", "answering")
    assert [(arm.label, arm.role) for arm in study.arms] == [
        ("film", "arm"),
        ("plain", "reference"),
        ("question_only", "control"),
    ]
    assert study.seeds == (3, 5)
    assert study.expected == (Expected("film", "accuracy", "val", 0.5, "an earlier run"),)
    assert (study.primary, study.primary_split, study.margin) == ("balanced_accuracy", "select", 0.01)
    assert study.selection_metric == "accuracy"
    assert study.search is None


def test_keys_that_are_left_out_have_defaults(load: Load) -> None:
    text = (
        "version: 1\nname: short\ndata: {name: mini, image_size: [64, 64]}\n"
        "arms: {net: {network: net}}\ncontrols: false\n"
    )
    study = load(text)
    config = study.arms[0].config
    assert study.seeds == (0, 1, 2, 3, 4)
    assert load(text, "seeds=3").seeds == (0, 1, 2), "a number of seeds, from 0"
    assert (study.reference, study.primary, study.primary_split) == ("net", "accuracy", "val")
    assert (config.fusion, config.head, config.train) == (FusionConfig(), HeadConfig(), TrainConfig())


def test_overrides_go_through_the_same_checks(load: Load) -> None:
    study = load(GOOD, "train.epochs=7", "arms.film.kernel_size=7", "seeds=[1]", "report={}")
    assert study.arms[0].config.train.epochs == 7
    assert study.arms[0].config.arm.settings == {"kernel_size": 7}
    assert (study.seeds, study.primary) == ((1,), "accuracy")
    assert mistakes(load, GOOD, "train.epochs=-1", "arms.film.hiden=3", "train={epoch: 1, clip: x}") == [
        "--set train: train.clip: must be a number, not 'x'",
        "--set train: train.epoch: unknown key (did you mean 'epochs'?)",
        "--set arms.film.hiden: unknown key (did you mean 'hidden'?)",
    ]
    assert mistakes(load, GOOD, "train.epochs=-1") == ["--set train.epochs: must be at least 0, not -1"]


BAD = """\
version: 2
name: a/b
data:
  name: minni
  image_size: [64]
backbone: {name: test_resnt, frozen: yes, weights: imagnet, layr: 1}
text: {hidden: 64.5, sentense: last}
train:
  learning_rate: "1e-4"
  epochs: -2
  precision: float16
  epochs: 3
fusion: {slot: unifrom}
budget: {match: parameters, tolerance: 1.0}
arms:
  film: {module: film, hiden: 32, sizes: 3, norm: bath}
  typo: {module: fillm}
  even: {module: film, kernel_size: 4}
  over: {module: plain, train: {learning_rat: 0.01}, fusion: {depth: 0}}
  net: {network: net, size: C, fusion: {depth: 3}}
  what: {modul: film}
  file: {module: nofile.py}
  json: {module: "json:JSONDecoder"}
  swap: {module: "study_fakes:Net"}
controls: [image_only, question_onl]
seeds: [1, 1]
reference: fil
search: {trials: 0}
expected:
  - {arm: flim, metric: accuracy, split: val, value: 1}
report: {margin: -1}
treads: 2
"""


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(load: Load, tmp_path: Path) -> None:
    assert mistakes(load, BAD) == [
        "line 1: version: must be 1, not 2",
        "line 2: name: 'a/b' names a folder: write letters, digits, '.', '_', '+' and '-', at most 64",
        "line 4: data.name: unknown data set 'minni' (did you mean 'mini'?)",
        "line 5: data.image_size: is too short: [64]",
        "line 6: backbone.weights: must be imagenet, package, random, pretext or file:PATH, not 'imagnet' "
        "(did you mean 'imagenet'?)",
        "line 6: backbone.frozen: must be true or false, not 'yes'",
        "line 6: backbone.layr: unknown key (did you mean 'layer'?)",
        "line 6: backbone.name: unknown timm backbone 'test_resnt' (did you mean 'test_resnet'?)",
        "line 7: text.hidden: must be a whole number, not 64.5",
        "line 7: text.sentense: unknown key (did you mean 'sentence'?)",
        "line 9: train.learning_rate: must be a number, not '1e-4' (write 1e-4 without quotes)",
        "line 10: train.epochs: must be at least 0, not -2",
        "line 11: train.precision: must be 'float32', 'bfloat16' or 'auto', not 'float16' "
        "(did you mean 'bfloat16'?)",
        "line 12: train.epochs: duplicate key, already given in line 10",
        "line 13: fusion.slot: must be 'published' or 'uniform', not 'unifrom' (did you mean 'uniform'?)",
        "line 14: budget.match: must be 'none', 'params' or 'flops', not 'parameters' (did you mean 'params'?)",
        "line 14: budget.tolerance: must be less than 1, not 1.0",
        "line 16: arms.film.sizes: must be a list, not 3",
        "line 16: arms.film.norm: must be 'batch', 'layer' or 'none', not 'bath' (did you mean 'batch'?)",
        "line 16: arms.film.hiden: unknown key (did you mean 'hidden'?)",
        "line 17: arms.typo.module: unknown module 'fillm' (did you mean 'film'?)",
        "line 18: arms.even: Film refuses these settings: kernel_size must be odd, not 4",
        "line 19: arms.over.train.learning_rat: unknown key (did you mean 'learning_rate'?)",
        "line 19: arms.over.fusion.depth: must be at least 1, not 0",
        "line 20: arms.net.fusion.depth: a network has no slot, so it has no depth; leave this out",
        "line 20: arms.net.size: must be 'S' or 'B', not 'C'",
        "line 21: arms.what: must name a class; write either module: or network:",
        f"line 22: arms.file.module: cannot read the module file {tmp_path}/nofile.py: "
        "No such file or directory",
        "line 23: arms.json.module: JSONDecoder is not a FusionModule",
        "line 24: arms.swap.module: Net is not a FusionModule",
        "line 25: controls[1]: must be 'question_only', 'image_only', 'prior', 'late_concat' or "
        "'frozen_random', not 'question_onl' (did you mean 'question_only'?)",
        "line 26: seeds: names 1 more than once",
        "line 27: reference: there is no arm 'fil' (did you mean 'film'?)",
        "line 28: search.trials: must be at least 1, not 0",
        "line 30: expected[0].source: is missing",
        "line 30: expected[0].arm: there is no arm 'flim' (did you mean 'film'?)",
        "line 31: report.margin: must be greater than 0, not -1",
        "line 32: treads: unknown key (did you mean 'threads'?)",
    ]


def test_a_mistake_begins_with_the_file_as_it_was_given(load: Load, tmp_path: Path) -> None:
    with pytest.raises(StudyFileError) as caught:
        load(GOOD.replace("epochs", "epoch"))
    assert str(caught.value) == (
        f"{tmp_path}/s.yaml, line 12: train.epoch: unknown key (did you mean 'epochs'?)"
    )


def test_a_mistake_in_an_extended_file_cites_that_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("epochs: 3", "epochs: 0"))
    with pytest.raises(StudyFileError) as caught:
        load("extends: base.yaml\nname: child\nseeds: 0\n")
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/base.yaml, line 12: train.epochs: must be at least 1, not 0, unless the study has a start",
        f"{tmp_path}/s.yaml, line 3: seeds: must be at least 1, not 0",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [3, 5]", "seeds: []", "line 17: seeds: must have at least 1 entry, not []"),
        ("seeds: [3, 5]", "seeds: many", "line 17: seeds: must be a whole number, not 'many'"),
        ("[64, 96]", "[64, 96, 3]", "line 6: data.image_size: must have at most 2 entries, not [64, 96, 3]"),
        (
            "zero_hop, one_hop",
            "two_hop",
            "line 4: data: Mini refuses these settings: unknown kinds ['two_hop']",
        ),
        ("kinds:", "root: here\n  kinds:", "line 8: data.root: mini generates its own files; leave root out"),
        ("name: mini", "name: study_fakes:Film", "line 5: data.name: Film is not a DataSet"),
        ("embedding: 32", "encoder: lstm", "line 10: text.encoder: unknown text encoder 'lstm' (known: gru)"),
        ("weights: pretext", "weights: file:no.pt", "line 9: backbone.weights: cannot read the weights"),
        ("metric: accuracy", "metric: acuracy", "line 21: expected[0].metric: there is no metric 'acuracy'"),
        ("split: select", "split: train", "line 22: report.split: there is no split 'train'"),
        ("title: ", "title: 7 # ", "line 3: title: must be text, not 7 (write it in quotes)"),
        ("  film: ", "  a/b: ", "line 14: arms.a/b: a label must be one line of text without '/'"),
        ("arms:", "arms: {}\nunknown:", "line 13: arms: there is nothing to compare; write at least one arm"),
        (
            "arms:",
            "vary: {base: {module: film}}\narms:",
            "line 13: vary: cannot be written together with arms; leave one of them out",
        ),
    ],
)
def test_a_single_mistake(load: Load, old: str, new: str, message: str) -> None:
    assert old in GOOD
    found = mistakes(load, GOOD.replace(old, new, 1))
    assert any(line.startswith(message) for line in found), found


def test_modules_need_a_backbone(load: Load) -> None:
    assert mistakes(load, GOOD, "backbone=null") == [
        "--set backbone: is missing: every module needs a backbone; add one"
    ]


def test_pretext_weights_need_a_built_in_data_set(load: Load) -> None:
    text = GOOD.replace("name: mini", "name: real").replace("  kinds: [zero_hop, one_hop]\n", "")
    assert mistakes(load, text) == [
        "line 8: backbone.weights: pretext weights are trained on scenes of a built-in data set, and real is not "
        "built in; write imagenet, package, random or file:PATH, or start from a study on a built-in data set"
    ]


def test_paths_start_at_the_file_that_names_them_and_stay_out_of_the_identity(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "weights.pt").write_bytes(b"some weights")
    (tmp_path / "files" / "base.yaml").write_text(
        GOOD.replace("name: mini", "name: real\n  root: pictures")
        .replace("  kinds: [zero_hop, one_hop]\n", "")
        .replace("weights: pretext", "weights: file:weights.pt")
    )
    study = load("extends: files/base.yaml\n")
    assert study.roots == {"real": tmp_path / "files" / "pictures"}
    sha256 = hashlib.sha256(b"some weights").hexdigest()
    assert study.weight_files == {sha256: tmp_path / "files" / "weights.pt"}
    backbone = study.arms[0].config.backbone
    assert backbone is not None
    assert (backbone.weights, backbone.weights_sha256) == ("file", sha256)
    assert str(tmp_path) not in json.dumps(study.arms[0].config.to_json())


THIRD_PARTY = '''
"""A module in one file."""
from study_fakes import Film

class Mine(Film):
    """Mine."""
    def __init__(self, visual_dim: int, language_dim: int, *, strength: float = 0.5) -> None:
        super().__init__(visual_dim, language_dim)
'''


def test_a_module_in_a_file_beside_the_study_travels_as_text(load: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(THIRD_PARTY)
    config = load(GOOD.replace("module: plain", "module: mine.py, strength: 1")).arms[1].config
    assert (config.arm.target.reference, config.arm.target.source) == ("file:Mine", THIRD_PARTY)
    assert config.arm.settings == {"strength": 1.0}


def test_mistakes_about_a_module_in_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(THIRD_PARTY)
    assert mistakes(load, GOOD.replace("module: plain", "module: mine.py, strenght: 1")) == [
        "line 15: arms.plain.strenght: unknown key (did you mean 'strength'?)"
    ]
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\nclass Mine: ...\n")
    assert mistakes(load, GOOD.replace("module: plain", "module: broken.py")) == [
        f"line 15: arms.plain.module: {tmp_path / 'broken.py'}, line 1: there is no module 'nowhere_to_be_found'; "
        "install the package that holds it"
    ]
    (tmp_path / "raises.py").write_text("class Mine: ...\nassert False, 'half written'\n")
    assert mistakes(load, GOOD.replace("module: plain", "module: raises.py")) == [
        f"line 15: arms.plain.module: {tmp_path / 'raises.py'}, line 2: AssertionError: half written"
    ]


def test_the_first_task_and_its_first_head_need_no_name(load: Load) -> None:
    named = load(GOOD.replace("  name: mini", "  name: mini\n  task: answering") + "head: {kind: pooled}\n")
    assert named.task == "answering"
    assert [arm.config.id for arm in named.arms] == [arm.config.id for arm in load(GOOD).arms]


def test_unknown_tasks_and_heads_are_refused_with_the_nearest_name(load: Load) -> None:
    assert mistakes(load, GOOD.replace("  name: mini", "  name: mini\n  task: answring")) == [
        "line 6: data.task: mini does not support the task 'answring' (did you mean 'answering'?)"
    ]
    assert mistakes(load, GOOD + "head: {kind: poled}\n") == [
        "line 23: head.kind: answering has no head 'poled' (did you mean 'pooled'?)"
    ]


def test_studies_that_start_from_each_other_in_a_circle_are_refused(load: Load, tmp_path: Path) -> None:
    for name, other in [("s", "b"), ("b", "c"), ("c", "s")]:
        (tmp_path / f"{name}.yaml").write_text(GOOD + f"start: {{study: {other}.yaml}}\n")
    (line,) = mistakes(load, GOOD + "start: {study: b.yaml}\n")
    assert line.startswith("line 23: start.study: cannot be read: ")
    assert line.endswith(
        "studies start from each other in a circle: s.yaml -> b.yaml -> c.yaml -> s.yaml; remove one start"
    )


def test_a_long_chain_of_starts_is_refused(load: Load, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.yaml").write_text(GOOD + f"start: {{study: {number + 1}.yaml}}\n")
    (tmp_path / "12.yaml").write_text(GOOD)
    (line,) = mistakes(load, GOOD + "start: {study: 0.yaml}\n")
    assert line.endswith("more than 10 studies start from each other; remove one start")


def test_a_study_that_several_contexts_start_from_is_read_once(load: Load, tmp_path: Path) -> None:
    (tmp_path / "source.yaml").write_text(GOOD)
    contexts = "start: {study: source.yaml}\ncontexts: {one: {train.epochs: 2}, two: {train.epochs: 4}}\n"
    study = load(GOOD + contexts)
    assert study.source is not None
    assert all(context.source is study.source for context in study.contexts.values())


@pytest.mark.parametrize(
    ("override", "limit"),
    [
        ("search={trials: 10001}", "at most 10,000"),
        ("search={trials: 4, batch: 10001}", "at most 10,000"),
        ("train.batch_size=1000001", "at most 1,000,000"),
        ("train.epochs=100001", "at most 100,000"),
        ("fusion.depth=101", "at most 100"),
        ("fusion.width=8193", "at most 8,192"),
        ("head.hidden=8193", "at most 8,192"),
        ("data.image_size=[8193, 64]", "at most 8,192"),
        ("threads=1025", "at most 1,024"),
        ("seeds=1001", "at most 1,000"),
        ("seeds=[2147483648]", "less than 2,147,483,648"),
        ("report.pictures=1001", "at most 1,000"),
    ],
)
def test_sizes_that_no_study_has_are_refused_with_the_bound(load: Load, override: str, limit: str) -> None:
    found = mistakes(load, GOOD, override)
    assert len(found) == 1
    assert f"must be {limit}, not " in found[0]


def test_more_arms_or_contexts_than_a_study_has_are_refused(load: Load) -> None:
    arms = ", ".join(f"a{number}: {{module: film, hidden: {number + 1}}}" for number in range(501))
    (line, *_) = mistakes(load, GOOD, f"arms={{{arms}}}", "reference=a0", "expected=[]")
    assert line == "--set arms: must have at most 500 entries, not a mapping"
    contexts = ", ".join(f"c{number}: {{train.epochs: {number + 1}}}" for number in range(101))
    (line,) = mistakes(load, GOOD, f"contexts={{{contexts}}}")
    assert line == "--set contexts: must have at most 100 entries, not a mapping"


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_weights_that_are_no_file_are_refused(load: Load, tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (line,) = mistakes(load, GOOD, f"backbone.weights=file:{(tmp_path / path)}")
    assert line.endswith("it is a pipe or a device, not a file")


def test_the_home_folder_of_nobody_is_a_folder_that_is_not_there(load: Load) -> None:
    (line,) = mistakes(load, GOOD, "backbone.weights=file:~nobody-of-this-name/w.pt")
    assert line.endswith("~nobody-of-this-name/w.pt: No such file or directory")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("epochs=3", "did you mean 'train.epochs'?"),
        ("epoch=3", "did you mean 'train.epochs'?"),
        ("width=3", "did you mean 'fusion.width' or 'head.width'?"),
        ("trials=3", "did you mean 'search.trials'?"),
        ("kernel_size=3", "did you mean 'arms.film.kernel_size'?"),
        ("kinds=[one_hop]", "did you mean 'data.kinds'?"),
        ("treads=3", "did you mean 'threads'?"),
        ("trian.epochs=3", "did you mean 'train'?"),
        ("learning-rate=3", "did you mean 'train.learning_rate'?"),
        ("zzz=3", "known: arms, backbone, budget"),
    ],
)
def test_an_unknown_key_at_the_top_names_the_section_that_has_it(
    load: Load, override: str, hint: str
) -> None:
    (line,) = mistakes(load, GOOD, override)
    assert f"unknown key ({hint}" in line
    key, _, value = override.partition("=")
    (line,) = mistakes(load, f"{GOOD}{key}: {value}\n")
    assert f"unknown key ({hint}" in line or "." in key
