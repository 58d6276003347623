"""Faulty study files, each with the sentence that it has to get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GOOD = """\
version: 1
name: good
title: A good study
data:
  name: miniclevr
  image_size: [32, 48]
  size: [32, 48]
  kinds: [zero_hop]
  images: {train: 40, select: 20, evaluate: 20}
backbone: {name: test_resnet, layer: 2, weights: random, frozen: true}
text: {encoder: gru, embedding: 16, hidden: 16}
fusion: {width: 16, depth: 1}
head: {width: 16, hidden: 16}
train:
  epochs: 1
  batch_size: 16
  learning_rate: 1e-3
arms:
  film: {module: film}
  laconv: {module: laconv, kernel_size: 3}
controls: false
seeds: 2
reference: film
"""


@dataclass(frozen=True)
class Fault:
    """A faulty study file or call.

    Attributes:
        name: the name of the case.
        words: what the one sentence must hold, in this order.
        old, new: the change that makes the good study file faulty.
        call: the command line; ``{study}`` stands for the study file, ``{folder}`` for its folder.
        files: further files beside the study, as text or bytes.
        prints: the module prints lines of its own before it fails.
    """

    name: str
    words: tuple[str, ...]
    old: str = ""
    new: str = ""
    call: tuple[str, ...] = ("plan", "{study}", "--runs", "{folder}/runs")
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    prints: bool = False

    def write(self, folder: Path) -> Path:
        """Write the study file and the files beside it, and return the study file."""
        assert self.old in GOOD, self.name
        text = GOOD.replace(self.old, self.new) if self.old else GOOD + self.new
        study = folder / "good.yaml"
        study.write_text(text, encoding="utf-8")
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return study

    def command(self, study: Path) -> list[str]:
        """Return the arguments of ``fusion-bench``."""
        return [part.format(study=study, folder=study.parent) for part in self.call]


def edited(
    name: str, old: str, new: str, *words: str, files: Mapping[str, str | bytes] | None = None
) -> Fault:
    return Fault(name, words, old, new, files=files or {})


def extended(name: str, new: str, *words: str) -> Fault:
    return Fault(name, words, "", new)


FAULTY_STUDIES = (
    # The document
    edited("a version of tomorrow", "version: 1", "version: 2", "line 1: version: must be 1, not 2"),
    edited("no version", "version: 1\n", "", "version: is missing"),
    edited("a name with a folder", "name: good", "name: a/b", "line 2: name:", "names a folder"),
    edited("a name that climbs", "name: good", "name: ..", "line 2: name:"),
    edited("an empty name", "name: good", 'name: ""', "line 2: name:"),
    edited("a number as title", "A good study", "7", "line 3: title: must be text, not 7"),
    edited("two lines as title", "A good study", '"a\\nb"', "line 3: title:", "one line"),
    extended("an unknown key", "treads: 2\n", "line 24: treads: unknown key (did you mean 'threads'?)"),
    extended("a key twice", "seeds: 3\n", "line 24: seeds: duplicate key, already given in line 22"),
    extended("a tab", "\tx\n", "YAML"),
    extended("an open bracket", "report: [1, 2\n", "YAML"),
    extended("an unknown tag", "report: !!python/object:os.system {}\n", "line 24"),
    extended("a tag on a list", "x: !!set [a]\n", "line 24"),
    extended("an anchor that is not there", "threads: *one\n", "line 24"),
    edited("a merge", "  film: {module: film}", "  film: {<<: {module: film}}", "line 19", "<<", "extends"),
    edited("a list as a study", GOOD, "- a\n- b\n", "mapping"),
    edited("a word as a study", GOOD, "hello\n", "mapping"),
    edited("an empty study", GOOD, "\n", "line 1", "must be a mapping"),
    edited("two documents", "version: 1", "---\nversion: 1\n---\nversion: 1", "line 3", "another document"),
    edited("a number that is not one", "epochs: 1", "epochs: .nan", "line 15: train.epochs"),
    edited(
        "an infinite number", "learning_rate: 1e-3", "learning_rate: .inf", "line 17: train.learning_rate"
    ),
    edited("a list as a key", "epochs: 1", "? [a, b]\n  : 1", "line 15"),
    # The data
    edited("a misspelt data set", "name: miniclevr", "name: minclevr", "line 5: data.name", "'miniclevr'"),
    edited("no data set", "  name: miniclevr\n", "", "line 4: data.name: is missing"),
    edited(
        "an image size of one number", "image_size: [32, 48]", "image_size: 32", "line 6: data.image_size"
    ),
    edited("a tiny image", "image_size: [32, 48]", "image_size: [1, 48]", "line 6: data.image_size"),
    edited("a negative image", "image_size: [32, 48]", "image_size: [-32, 48]", "line 6: data.image_size"),
    edited("an unknown kind", "kinds: [zero_hop]", "kinds: [zero_hopp]", "line 4: data", "zero_hopp"),
    edited(
        "a kind as text",
        "kinds: [zero_hop]",
        "kinds: zero_hop",
        "line 8: data.kinds: must be 'locate', 'relate' or 'reason' or a list",
    ),
    edited("no images", "train: 40", "train: 0", "data"),
    edited("an unknown split", "train: 40", "trian: 40", "data"),
    edited("a root for made data", "kinds:", "root: here\n  kinds:", "line 8: data.root", "leave root out"),
    edited("an unknown setting of data", "  size:", "  sise:", "line 7: data.sise: unknown key", "'size'"),
    edited("an unknown task", "kinds:", "task: answring\n  kinds:", "line 8: data.task", "answering"),
    edited("a text of no words", "kinds:", "longest_text: 0\n  kinds:", "line 8: data.longest_text"),
    edited("a file as data set", "name: miniclevr", "name: nodata.py", "line 5: data.name", "nodata.py"),
    edited(
        "any class as data set",
        "name: miniclevr",
        "name: json:JSONDecoder",
        "line 5: data.name",
        "not a DataSet",
    ),
    edited(
        "a setting of another data set",
        "miniclevr\n  image_size: [32, 48]\n  size: [32, 48]\n  kinds: [zero_hop]\n  images: {train: 40,"
        " select: 20, evaluate: 20}\n",
        "easy_vqa\n  image_size: [32, 48]\n  kinds: [zero_hop]\n",
        "line 7: data.kinds: unknown key",
    ),
    # Backbone, text, slot, head
    edited("a misspelt backbone", "test_resnet", "test_resnt", "line 10: backbone.name", "'test_resnet'"),
    edited("a layer too many", "layer: 2", "layer: 99", "line 10: backbone", "layer"),
    edited("a layer as text", "layer: 2", 'layer: "2"', "line 10: backbone.layer: must be a whole number"),
    edited(
        "misspelt weights", "weights: random", "weights: imagnet", "line 10: backbone.weights", "'imagenet'"
    ),
    edited(
        "weights that are not there",
        "weights: random",
        "weights: file:no.pth",
        "line 10: backbone.weights",
        "no.pth",
    ),
    edited("weights without a file", "weights: random", "weights: 'file:'", "line 10: backbone.weights"),
    Fault(
        "weights that are no weights",
        ("text.pth",),
        "weights: random",
        "weights: file:text.pth",
        call=("run", "{study}", "--runs", "{folder}/runs", "--device", "cpu"),
        files={"text.pth": b"these are no weights"},
    ),
    edited(
        "yes", "frozen: true", "frozen: yes", "line 10: backbone.frozen: must be true or false, not 'yes'"
    ),
    edited("an unknown text encoder", "encoder: gru", "encoder: lstm", "line 11: text.encoder", "'lstm'"),
    edited("a negative embedding", "embedding: 16", "embedding: -1", "line 11: text"),
    edited("an unknown setting of text", "hidden: 16}\nfusion", "hiden: 16}\nfusion", "line 11: text.hiden"),
    edited(
        "no width",
        "{width: 16, depth: 1}",
        "{width: 0, depth: 1}",
        "line 12: fusion.width: must be at least 1",
    ),
    edited("a depth of a million", "depth: 1", "depth: 1000000", "line 12: fusion.depth: must be at most"),
    edited("a slot misspelt", "depth: 1", "depth: 1, slot: unifrom", "line 12: fusion.slot", "'uniform'"),
    edited(
        "a dropout of one",
        "{width: 16, hidden: 16}",
        "{width: 16, hidden: 16, dropout: 1}",
        "line 13: head.dropout",
    ),
    edited(
        "an unknown head",
        "{width: 16, hidden: 16}",
        "{width: 16, hidden: 16, kind: bx}",
        "line 13: head.kind",
    ),
    # Training
    edited(
        "epochs backwards", "epochs: 1", "epochs: -2", "line 15: train.epochs: must be at least 0, not -2"
    ),
    edited("no epochs", "epochs: 1", "epochs: 0", "line 15: train.epochs: must be at least 1"),
    edited("epochs without end", "epochs: 1", "epochs: 1000000000", "line 15: train.epochs: must be at most"),
    edited("half an epoch", "epochs: 1", "epochs: 0.5", "line 15: train.epochs: must be a whole number"),
    edited(
        "a batch of one", "batch_size: 16", "batch_size: 1", "line 16: train.batch_size: must be at least 2"
    ),
    edited(
        "a giant batch",
        "batch_size: 16",
        "batch_size: 100000000",
        "line 16: train.batch_size: must be at most",
    ),
    edited("a rate in quotes", "1e-3", '"1e-3"', "line 17: train.learning_rate", "without quotes"),
    edited("a rate of nothing", "1e-3", "0", "line 17: train.learning_rate: must be greater than 0"),
    edited("a precision of 8 bits", "1e-3", "1e-3\n  precision: float8", "line 18: train.precision"),
    edited(
        "an optimizer misspelt", "1e-3", "1e-3\n  optimizer: adamv", "line 18: train.optimizer", "'adamw'"
    ),
    edited("one beta", "1e-3", "1e-3\n  betas: [0.9]", "line 18: train.betas"),
    # Arms, controls, seeds
    edited("an unknown module", "{module: film}", "{module: fillm}", "line 19: arms.film.module", "'film'"),
    edited(
        "an unknown setting",
        "kernel_size: 3",
        "kernal_size: 3",
        "line 20: arms.laconv.kernal_size",
        "'kernel_size'",
    ),
    edited("an even kernel", "kernel_size: 3", "kernel_size: 4", "line 20: arms.laconv", "kernel_size"),
    edited(
        "a kernel as text",
        "kernel_size: 3",
        'kernel_size: "3"',
        "line 20: arms.laconv.kernel_size: must be a whole",
    ),
    edited("an arm of nothing", "{module: film}", "{}", "line 19: arms.film", "module: or network:"),
    edited(
        "an arm of two things", "{module: film}", "{module: film, network: laconvnet}", "line 19: arms.film"
    ),
    edited("a word as arm", "{module: film}", "film", "line 19: arms.film"),
    edited(
        "a list as arms",
        "arms:\n  film: {module: film}\n  laconv: {module: laconv, kernel_size: 3}\n",
        "arms: [film]\n",
        "line 18: arms",
    ),
    edited("a label with a slash", "  laconv: ", "  a/b: ", "line 20: arms.a/b", "label"),
    edited(
        "any class as module",
        "{module: film}",
        '{module: "json:JSONDecoder"}',
        "line 19: arms.film.module",
        "not a FusionModule",
    ),
    edited(
        "a package that is not there",
        "{module: film}",
        '{module: "nopack.mod:Class"}',
        "line 19: arms.film.module",
        "nopack",
    ),
    edited(
        "a class that is not there",
        "{module: film}",
        '{module: "fusion_modules.film:Flim"}',
        "line 19: arms.film.module",
        "Flim",
    ),
    edited(
        "a file that is not there",
        "{module: film}",
        "{module: nofile.py}",
        "line 19: arms.film.module",
        "nofile.py",
    ),
    edited(
        "an unknown control",
        "controls: false",
        "controls: [question_onl]",
        "line 21: controls",
        "'question_only'",
    ),
    edited("no seeds", "seeds: 2", "seeds: []", "line 22: seeds: must have at least 1 entry"),
    edited("a seed twice", "seeds: 2", "seeds: [1, 1]", "line 22: seeds: names 1 more than once"),
    edited("a negative seed", "seeds: 2", "seeds: [-1]", "line 22: seeds"),
    edited("a million seeds", "seeds: 2", "seeds: 1000000", "line 22: seeds: must be at most"),
    edited("an unknown reference", "reference: film", "reference: flim", "line 23: reference", "'film'"),
    # Search, vary, report, extends, start
    extended("no trials", "search: {trials: 0}\n", "line 24: search.trials: must be at least 1"),
    extended("a million trials", "search: {trials: 1000000}\n", "line 24: search.trials: must be at most"),
    extended(
        "a search of what is not there",
        "search: {trials: 2, space: {kernal: [3, 5]}}\n",
        "line 24: search.space.kernal",
    ),
    extended(
        "a range upside down",
        "search: {trials: 2, space: {train.learning_rate: {low: 1, high: 0.1}}}\n",
        "line 24: search.space",
        "low must be less than high",
    ),
    extended(
        "a value that cannot be drawn",
        'search: {trials: 2, space: {train.weight_decay: [0, "x"]}}\n',
        "line 24: search.space",
        "weight_decay",
    ),
    extended("vary beside arms", "vary: {base: {module: film}}\n", "line 24: vary", "arms"),
    extended(
        "a margin below zero", "report: {margin: -1}\n", "line 24: report.margin: must be greater than 0"
    ),
    extended("an unknown metric", "report: {primary: acuracy}\n", "line 24: report.primary", "accuracy"),
    extended("a split that is not evaluated", "report: {split: train}\n", "line 24: report.split"),
    edited(
        "a study that extends nothing",
        "version: 1",
        "extends: no.yaml\nversion: 1",
        "line 1: extends",
        "no.yaml",
    ),
    edited(
        "a study that extends itself",
        "version: 1",
        "extends: other.yaml\nversion: 1",
        "other.yaml",
        files={"other.yaml": "extends: other.yaml\n"},
    ),
    edited(
        "a start of nothing",
        "version: 1",
        "start: {study: no.yaml}\nversion: 1",
        "line 1: start.study",
        "no.yaml",
    ),
)
