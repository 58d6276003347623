"""Faulty module files, overrides and calls, each with the sentence that it has to get; `FAULTS` are all faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from faulty_input import FAULTY_STUDIES, Fault, edited

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


_PARSES = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--x", required=True)
parser.parse_args()
"""


def _call(name: str, call: str, *words: str, files: Mapping[str, str | bytes] | None = None) -> Fault:
    return Fault(name, words, call=tuple(call.split()), files=files or {})


def _set(name: str, override: str, *words: str) -> Fault:
    return Fault(name, words, call=("plan", "{study}", "--runs", "{folder}/runs", "--set", override))


def _module(name: str, source: str | bytes, *words: str) -> Fault:
    return edited(name, "{module: film}", "{module: gate.py}", *words, files={"gate.py": source})


def _easy_vqa(name: str, questions: str, *words: str, answers: str = "yes\nno\n") -> Fault:
    """Return the call of ``data show`` on a folder of easy-VQA with these questions and answers."""
    return _call(
        name,
        "data show easy_vqa --root {folder}/easy --out {folder}/x.png",
        *words,
        files={"easy/test/questions.json": questions, "easy/answers.txt": answers},
    )


FAULTS = (
    *FAULTY_STUDIES,
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
    _call(
        "easy-VQA in no folder", "data show easy_vqa --root {folder}/no --out {folder}/x.png", "answers.txt"
    ),
    _easy_vqa("questions cut off", '[["a?", "yes", 0]', "questions.json is not JSON"),
    _easy_vqa("questions of another layout", '{"questions": []}', "questions.json is no list of rows"),
    _easy_vqa("a question without an image", '[["a?", "yes", 0], ["b?", "yes"]]', "row 1", "image number"),
    _easy_vqa("an image number as text", '[["a?", "yes", "0"]]', "row 0", "'0'", "image number"),
    _easy_vqa("an answer that is not listed", '[["a?", "maybe", 0]]', "row 0", "'maybe'", "answers.txt"),
    _easy_vqa("a question asked twice", '[["a?", "yes", 0], ["a?", "no", 0]]', "row 1", "as row 0"),
    _easy_vqa("questions without images", '[["a?", "yes", 0]]', "easy/test/images", "is not a folder"),
    _easy_vqa("an answer listed twice", "[]", "answers.txt, line 2 repeats 'yes'", answers="yes\nyes\n"),
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
