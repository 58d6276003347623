"""One hundred and more faulty study files and calls, each with the sentence that it has to get.

A fault is a change of a good study file, or a call; ``{folder}`` in a call stands for the folder of the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

MODULE = '''\
"""A gate."""

from typing import ClassVar

from torch import Tensor, nn

from fusion_bench.contract import Citation, FusionModule, Language, Listens, PositionCode, Width


class Gate(FusionModule):
    """Multiply each channel by a gate that is computed from the sentence."""

    citation: ClassVar[Citation] = Citation("A gate", "A. Author", "none", 2026, "https://example.org")
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {}

    def __init__(self, visual_dim: int, language_dim: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Linear(language_dim, visual_dim)
        self.scale = scale

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return visual * self.scale * self.gate(language.sentence).sigmoid()[:, :, None, None]
'''


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
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return study

    def command(self, study: Path) -> list[str]:
        """Return the arguments of ``fusion-bench``."""
        return [part.format(study=study, folder=study.parent) for part in self.call]


def _edit(
    name: str, old: str, new: str, *words: str, files: Mapping[str, str | bytes] | None = None
) -> Fault:
    return Fault(name, words, old, new, files=files or {})


def _more(name: str, new: str, *words: str) -> Fault:
    return Fault(name, words, "", new)


def _call(name: str, call: str, *words: str, files: Mapping[str, str | bytes] | None = None) -> Fault:
    return Fault(name, words, call=tuple(call.split()), files=files or {})


def _set(name: str, override: str, *words: str) -> Fault:
    return Fault(name, words, call=("plan", "{study}", "--runs", "{folder}/runs", "--set", override))


def _module(name: str, source: str | bytes, *words: str) -> Fault:
    return _edit(name, "{module: film}", "{module: gate.py}", *words, files={"gate.py": source})


_PARSES = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--x", required=True)
parser.parse_args()
"""

FAULTS = (
    # The document
    _edit("a version of tomorrow", "version: 1", "version: 2", "line 1: version: must be 1, not 2"),
    _edit("no version", "version: 1\n", "", "version: is missing"),
    _edit("a name with a folder", "name: good", "name: a/b", "line 2: name:", "names a folder"),
    _edit("a name that climbs", "name: good", "name: ..", "line 2: name:"),
    _edit("an empty name", "name: good", 'name: ""', "line 2: name:"),
    _edit("a number as title", "A good study", "7", "line 3: title: must be text, not 7"),
    _edit("two lines as title", "A good study", '"a\\nb"', "line 3: title:", "one line"),
    _more("an unknown key", "treads: 2\n", "line 24: treads: unknown key (did you mean 'threads'?)"),
    _more("a key twice", "seeds: 3\n", "line 24: seeds: duplicate key, already given in line 22"),
    _more("a tab", "\tx\n", "YAML"),
    _more("an open bracket", "report: [1, 2\n", "YAML"),
    _more("an unknown tag", "report: !!python/object:os.system {}\n", "line 24"),
    _more("a tag on a list", "x: !!set [a]\n", "line 24"),
    _more("an anchor that is not there", "threads: *one\n", "line 24"),
    _edit("a merge", "  film: {module: film}", "  film: {<<: {module: film}}", "line 19", "<<", "extends"),
    _edit("a list as a study", GOOD, "- a\n- b\n", "mapping"),
    _edit("a word as a study", GOOD, "hello\n", "mapping"),
    _edit("an empty study", GOOD, "\n", "line 1", "must be a mapping"),
    _edit("two documents", "version: 1", "---\nversion: 1\n---\nversion: 1", "line 3", "another document"),
    _edit("a number that is not one", "epochs: 1", "epochs: .nan", "line 15: train.epochs"),
    _edit("an infinite number", "learning_rate: 1e-3", "learning_rate: .inf", "line 17: train.learning_rate"),
    _edit("a list as a key", "epochs: 1", "? [a, b]\n  : 1", "line 15"),
    # The data
    _edit("a misspelt data set", "name: miniclevr", "name: minclevr", "line 5: data.name", "'miniclevr'"),
    _edit("no data set", "  name: miniclevr\n", "", "line 4: data.name: is missing"),
    _edit("an image size of one number", "image_size: [32, 48]", "image_size: 32", "line 6: data.image_size"),
    _edit("a tiny image", "image_size: [32, 48]", "image_size: [1, 48]", "line 6: data.image_size"),
    _edit("a negative image", "image_size: [32, 48]", "image_size: [-32, 48]", "line 6: data.image_size"),
    _edit("an unknown kind", "kinds: [zero_hop]", "kinds: [zero_hopp]", "line 4: data", "zero_hopp"),
    _edit("a kind as text", "kinds: [zero_hop]", "kinds: zero_hop", "line 8: data.kinds: must be a list"),
    _edit("no images", "train: 40", "train: 0", "data"),
    _edit("an unknown split", "train: 40", "trian: 40", "data"),
    _edit("a root for made data", "kinds:", "root: here\n  kinds:", "line 8: data.root", "leave root out"),
    _edit("an unknown setting of data", "  size:", "  sise:", "line 7: data.sise: unknown key", "'size'"),
    _edit("an unknown task", "kinds:", "task: answring\n  kinds:", "line 8: data.task", "answering"),
    _edit("a text of no words", "kinds:", "longest_text: 0\n  kinds:", "line 8: data.longest_text"),
    _edit("a file as data set", "name: miniclevr", "name: nodata.py", "line 5: data.name", "nodata.py"),
    _edit(
        "any class as data set",
        "name: miniclevr",
        "name: json:JSONDecoder",
        "line 5: data.name",
        "not a DataSet",
    ),
    # Backbone, text, slot, head
    _edit("a misspelt backbone", "test_resnet", "test_resnt", "line 10: backbone.name", "'test_resnet'"),
    _edit("a layer too many", "layer: 2", "layer: 99", "line 10: backbone", "layer"),
    _edit("a layer as text", "layer: 2", 'layer: "2"', "line 10: backbone.layer: must be a whole number"),
    _edit(
        "misspelt weights", "weights: random", "weights: imagnet", "line 10: backbone.weights", "'imagenet'"
    ),
    _edit(
        "weights that are not there",
        "weights: random",
        "weights: file:no.pth",
        "line 10: backbone.weights",
        "no.pth",
    ),
    _edit("weights without a file", "weights: random", "weights: 'file:'", "line 10: backbone.weights"),
    Fault(
        "weights that are no weights",
        ("text.pth",),
        "weights: random",
        "weights: file:text.pth",
        call=("run", "{study}", "--runs", "{folder}/runs", "--device", "cpu"),
        files={"text.pth": b"these are no weights"},
    ),
    _edit("yes", "frozen: true", "frozen: yes", "line 10: backbone.frozen: must be true or false, not 'yes'"),
    _edit("an unknown text encoder", "encoder: gru", "encoder: lstm", "line 11: text.encoder", "'lstm'"),
    _edit("a negative embedding", "embedding: 16", "embedding: -1", "line 11: text"),
    _edit("an unknown setting of text", "hidden: 16}\nfusion", "hiden: 16}\nfusion", "line 11: text.hiden"),
    _edit(
        "no width",
        "{width: 16, depth: 1}",
        "{width: 0, depth: 1}",
        "line 12: fusion.width: must be at least 1",
    ),
    _edit("a depth of a million", "depth: 1", "depth: 1000000", "line 12: fusion.depth: must be at most"),
    _edit("a slot misspelt", "depth: 1", "depth: 1, slot: unifrom", "line 12: fusion.slot", "'uniform'"),
    _edit(
        "a dropout of one",
        "{width: 16, hidden: 16}",
        "{width: 16, hidden: 16, dropout: 1}",
        "line 13: head.dropout",
    ),
    _edit(
        "an unknown head",
        "{width: 16, hidden: 16}",
        "{width: 16, hidden: 16, kind: bx}",
        "line 13: head.kind",
    ),
    # Training
    _edit("epochs backwards", "epochs: 1", "epochs: -2", "line 15: train.epochs: must be at least 0, not -2"),
    _edit("no epochs", "epochs: 1", "epochs: 0", "line 15: train.epochs: must be at least 1"),
    _edit("epochs without end", "epochs: 1", "epochs: 1000000000", "line 15: train.epochs: must be at most"),
    _edit("half an epoch", "epochs: 1", "epochs: 0.5", "line 15: train.epochs: must be a whole number"),
    _edit(
        "a batch of one", "batch_size: 16", "batch_size: 1", "line 16: train.batch_size: must be at least 2"
    ),
    _edit(
        "a giant batch",
        "batch_size: 16",
        "batch_size: 100000000",
        "line 16: train.batch_size: must be at most",
    ),
    _edit("a rate in quotes", "1e-3", '"1e-3"', "line 17: train.learning_rate", "without quotes"),
    _edit("a rate of nothing", "1e-3", "0", "line 17: train.learning_rate: must be greater than 0"),
    _edit("a precision of 8 bits", "1e-3", "1e-3\n  precision: float8", "line 18: train.precision"),
    _edit("an optimizer misspelt", "1e-3", "1e-3\n  optimizer: adamv", "line 18: train.optimizer", "'adamw'"),
    _edit("one beta", "1e-3", "1e-3\n  betas: [0.9]", "line 18: train.betas"),
    # Arms, controls, seeds
    _edit("an unknown module", "{module: film}", "{module: fillm}", "line 19: arms.film.module", "'film'"),
    _edit(
        "an unknown setting",
        "kernel_size: 3",
        "kernal_size: 3",
        "line 20: arms.laconv.kernal_size",
        "'kernel_size'",
    ),
    _edit("an even kernel", "kernel_size: 3", "kernel_size: 4", "line 20: arms.laconv", "kernel_size"),
    _edit(
        "a kernel as text",
        "kernel_size: 3",
        'kernel_size: "3"',
        "line 20: arms.laconv.kernel_size: must be a whole",
    ),
    _edit("an arm of nothing", "{module: film}", "{}", "line 19: arms.film", "module: or network:"),
    _edit(
        "an arm of two things", "{module: film}", "{module: film, network: laconvnet}", "line 19: arms.film"
    ),
    _edit("a word as arm", "{module: film}", "film", "line 19: arms.film"),
    _edit(
        "a list as arms",
        "arms:\n  film: {module: film}\n  laconv: {module: laconv, kernel_size: 3}\n",
        "arms: [film]\n",
        "line 18: arms",
    ),
    _edit("a label with a slash", "  laconv: ", "  a/b: ", "line 20: arms.a/b", "label"),
    _edit(
        "any class as module",
        "{module: film}",
        '{module: "json:JSONDecoder"}',
        "line 19: arms.film.module",
        "not a FusionModule",
    ),
    _edit(
        "a package that is not there",
        "{module: film}",
        '{module: "nopack.mod:Class"}',
        "line 19: arms.film.module",
        "nopack",
    ),
    _edit(
        "a class that is not there",
        "{module: film}",
        '{module: "fusion_modules.film:Flim"}',
        "line 19: arms.film.module",
        "Flim",
    ),
    _edit(
        "a file that is not there",
        "{module: film}",
        "{module: nofile.py}",
        "line 19: arms.film.module",
        "nofile.py",
    ),
    _edit(
        "an unknown control",
        "controls: false",
        "controls: [question_onl]",
        "line 21: controls",
        "'question_only'",
    ),
    _edit("no seeds", "seeds: 2", "seeds: []", "line 22: seeds: must have at least 1 entry"),
    _edit("a seed twice", "seeds: 2", "seeds: [1, 1]", "line 22: seeds: names 1 more than once"),
    _edit("a negative seed", "seeds: 2", "seeds: [-1]", "line 22: seeds"),
    _edit("a million seeds", "seeds: 2", "seeds: 1000000", "line 22: seeds: must be at most"),
    _edit("an unknown reference", "reference: film", "reference: flim", "line 23: reference", "'film'"),
    # Search, vary, report, extends, start
    _more("no trials", "search: {trials: 0}\n", "line 24: search.trials: must be at least 1"),
    _more("a million trials", "search: {trials: 1000000}\n", "line 24: search.trials: must be at most"),
    _more(
        "a search of what is not there",
        "search: {trials: 2, space: {kernal: [3, 5]}}\n",
        "line 24: search.space.kernal",
    ),
    _more(
        "a range upside down",
        "search: {trials: 2, space: {train.learning_rate: {low: 1, high: 0.1}}}\n",
        "line 24: search.space",
        "low must be less than high",
    ),
    _more(
        "a value that cannot be drawn",
        'search: {trials: 2, space: {train.weight_decay: [0, "x"]}}\n',
        "line 24: search.space",
        "weight_decay",
    ),
    _more("vary beside arms", "vary: {base: {module: film}}\n", "line 24: vary", "arms"),
    _more("a margin below zero", "report: {margin: -1}\n", "line 24: report.margin: must be greater than 0"),
    _more("an unknown metric", "report: {primary: acuracy}\n", "line 24: report.primary", "accuracy"),
    _more("a split that is not evaluated", "report: {split: train}\n", "line 24: report.split"),
    _edit(
        "a study that extends nothing",
        "version: 1",
        "extends: no.yaml\nversion: 1",
        "line 1: extends",
        "no.yaml",
    ),
    _edit(
        "a study that extends itself",
        "version: 1",
        "extends: other.yaml\nversion: 1",
        "other.yaml",
        files={"other.yaml": "extends: other.yaml\n"},
    ),
    _edit(
        "a start of nothing",
        "version: 1",
        "start: {study: no.yaml}\nversion: 1",
        "line 1: start.study",
        "no.yaml",
    ),
    # Module files
    _module("a module with a syntax error", MODULE.replace("return {}", "return {"), "gate.py, line"),
    _module(
        "a module that needs what is not installed",
        "import nopackage\n" + MODULE,
        "gate.py, line 1",
        "nopackage",
    ),
    _module("a module that ends the program", MODULE + "\nimport sys\nsys.exit(3)\n", "gate.py, line 32"),
    replace(_module("a module that parses arguments", MODULE + _PARSES, "gate.py, line 34"), prints=True),
    _module(
        "a module in Latin-1",
        MODULE.replace("A gate.", "Un caf\xe9.", 1).encode("latin-1"),
        "gate.py, line 1",
        "UTF-8",
    ),
    _module(
        "a module without a citation", MODULE.replace("    citation:", "    zitation:"), "gate.py", "citation"
    ),
    _module(
        "a module that divides by zero", MODULE + "\nx = 1 / 0\n", "gate.py, line 31", "ZeroDivisionError"
    ),
    _module("a module without a class", "x = 1\n", "gate.py", "defines 0 public classes"),
    _module("an empty module", "", "gate.py"),
    _module("a module of zeros", b"\0" * 40, "gate.py"),
    # --set
    _set("--set of no value", "train.epochs", "--set train.epochs: write KEY=VALUE"),
    _set("--set of no key", "=3", "--set", "write KEY=VALUE"),
    _set("--set of a short key", "epochs=3", "--set epochs", "train.epochs"),
    _set("--set of a misspelt key", "train.epoch=3", "--set train.epoch: unknown key", "'epochs'"),
    _set("--set of a wrong value", "train.epochs=many", "--set train.epochs: must be a whole number"),
    _set("--set of what is not YAML", "train.epochs=[1", "--set train.epochs"),
    _set("--set below a number", "train.epochs.x=1", "--set train.epochs"),
    _set("--set of an arm", "arms.film.sizes=3", "--set arms.film.sizes"),
    # Calls
    _call("a study that is not there", "run {folder}/no.yaml --runs {folder}/runs", "no.yaml"),
    _call("a folder as a study", "run {folder} --runs {folder}/runs", "{folder}"),
    _call("a plan of a folder", "plan {folder} --runs {folder}/runs", "{folder}"),
    _call("a report of nothing", "report {study} --runs {folder}/runs", "is finished"),
    _call("a report of a folder", "report {folder} --runs {folder}/runs", "{folder}"),
    _call("a device that is not there", "run {study} --runs {folder}/runs --device cuda:7", "cuda:7"),
    _call("a device misspelt", "run {study} --runs {folder}/runs --device gpu", "gpu"),
    _call(
        "data without a folder",
        "run {study} --runs {folder}/runs --data miniclevr",
        "miniclevr",
        "NAME=PATH",
    ),
    _call("data of another name", "run {study} --runs {folder}/runs --data clevr={folder}", "clevr"),
    _call("no workers", "run {study} --runs {folder}/runs --workers 0", "workers"),
    _call("a file as runs", "run {study} --runs {study}", "{study}"),
    _call("an unknown command", "rum {study}", "rum"),
    _call("an unknown option", "run {study} --epochs 3", "--epochs"),
    _call("a list of what is not there", "list modles", "modles", "modules"),
    _call("a check of nothing", "check fillm", "fillm", "film"),
    _call("a check of a file that is not there", "check {folder}/no.py", "no.py"),
    _call(
        "an explanation of an unknown arm",
        "explain {study} --sample 1 --arm flim --runs {folder}/runs",
        "flim",
    ),
    _call(
        "an explanation before training",
        "explain {study} --sample 1 --arm laconv --runs {folder}/runs",
        "laconv",
    ),
    _call("data of no adapter", "data verify clever", "clever"),
    _call("data in no folder", "data show clevr --root {folder}/no --out {folder}/x.png", "no"),
    _call("data made of a wrong setting", "data make miniclevr --out {folder}/made --set sise=3", "sise"),
    _call("cells from nowhere", "cells import {folder}/no --runs {folder}/runs", "no"),
    _call("cells from a folder of other things", "cells import {folder} --runs {folder}/runs", "{folder}"),
    _call(
        "no cells to submit",
        "cells export {study} --submission {folder}/out --runs {folder}/runs",
        "no cell is done",
    ),
    _call("a port too many", "ui --runs {folder}/runs --port 99999", "--port"),
    _call("a runs folder without results", "ui --runs {folder}/nothing", "nothing"),
)
