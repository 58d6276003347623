"""Names lead to classes through three doors: the harness, entry points, a file by its path."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from fusion_bench import registry as registry_module
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import BrokenOfferError, Registry, Target, UnknownNameError, did_you_mean

ONE: dict[str, str] = {"ordered": "collections:OrderedDict"}
TWO: dict[str, str] = {"path": "pathlib:PurePath"}
SAME: dict[str, str] = {"ordered": "pathlib:PurePath"}
Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Pretend that packages offer catalogues of this file through the group ``test.things``."""

    class Point(EntryPoint):
        def load(self) -> Any:
            return globals()[self.attr]

    def offered(*names: str) -> None:
        points = EntryPoints(
            Point(name.lower(), f"package_{name.lower()}:{name}", "test.things") for name in names
        )
        monkeypatch.setattr(registry_module, "entry_points", lambda group: points.select(group=group))

    return offered


def things() -> Registry[Any]:
    return Registry("thing", group="test.things", builtin={"counter": "collections:Counter"})


def test_the_harness_and_packages_offer_names(offer: Offer) -> None:
    offer("ONE", "TWO")
    entries = things().entries()
    assert list(entries) == ["counter", "ordered", "path"]
    assert entries["counter"].origin == "fusion_bench"
    assert entries["path"].origin == "package_two:TWO"
    assert things().load("path") is __import__("pathlib").PurePath


def test_a_collision_names_both_origins_and_takes_that_name_alone(offer: Offer) -> None:
    offer("ONE", "SAME", "TWO")
    registry = things()
    with pytest.raises(
        BrokenOfferError,
        match=r"the thing ordered of package_one:ONE and package_same:SAME: two packages",
    ):
        registry.resolve("ordered")
    assert list(registry.entries()) == ["counter", "path"]
    assert [offer.name for offer in registry.broken()] == ["ordered"]


def test_an_unknown_name_is_answered_with_the_nearest(offer: Offer) -> None:
    offer("ONE")
    with pytest.raises(UnknownNameError) as caught:
        things().resolve("orderd")
    assert str(caught.value) == "unknown thing 'orderd' (did you mean 'ordered'?)"
    assert did_you_mean("zebra", ["b", "a"]) == " (known: a, b)"
    assert did_you_mean("zebra", []) == ""


def test_a_class_is_imported_only_when_it_is_asked_for(offer: Offer) -> None:
    offer()
    broken: Registry[Any] = Registry("thing", builtin={"gone": "no_such_module:Thing"})
    target = broken.resolve("gone")
    with pytest.raises(FusionBenchError, match="there is no module 'no_such_module'"):
        target.load()


def test_a_dotted_name_needs_no_registration(offer: Offer) -> None:
    offer()
    assert things().resolve("fractions:Fraction") == Target("fractions:Fraction")
    with pytest.raises(FusionBenchError, match="fractions has no class 'Fracton'"):
        things().load("fractions:Fracton")
    with pytest.raises(FusionBenchError, match="math:pi is not a class"):
        things().load("math:pi")


def test_a_file_travels_as_its_text(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class _Hidden: ...\nclass Mine:\n    answer = 42\n")
    target = things().resolve("mine.py", tmp_path)
    assert target.reference == "file:Mine"
    (tmp_path / "mine.py").unlink()
    assert target.load().answer == 42
    assert target.load() is target.load(), "one text is run once a process"


def test_a_file_with_two_classes_must_say_which(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text("class A: ...\nclass B: ...\n")
    with pytest.raises(FusionBenchError, match=r"2 public classes; write which one: two.py:ClassName"):
        things().resolve("two.py", tmp_path)
    assert things().load("two.py:B", tmp_path).__name__ == "B"
    with pytest.raises(FusionBenchError, match=r"has no class 'C'"):
        things().resolve("two.py:C", tmp_path)


def test_a_file_that_cannot_be_used_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("class A:\n    def f(self:\n")
    with pytest.raises(FusionBenchError, match=r"wrong.py, line 2: '\(' was never closed"):
        things().resolve("wrong.py", tmp_path)
    with pytest.raises(FusionBenchError, match="cannot read the module file"):
        things().resolve("gone.py", tmp_path)


FAULTS = {
    "arguments": (
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--must', required=True)\n"
        "parser.parse_args()\n",
        "faulty.py, line 4: it ends the program (sys.exit(2)); a module that is imported may not",
    ),
    "exit": ("import sys\nsys.exit('no GPU')\n", "line 2: it ends the program (sys.exit('no GPU'))"),
    "raises": ("def f():\n    raise ValueError('half\\nwritten')\nf()\n", "line 2: ValueError: half"),
    "own_base": ("class Out(BaseException): ...\nraise Out\n", "line 2: Out"),
    "missing_import": ("import os\nimport no_such_package\n", "line 2: there is no module 'no_such_package'"),
    "beside": (
        "import beside_it\n",
        "line 1: there is no module 'beside_it': a module file goes into each cell alone",
    ),
    "missing_name": (
        "from os import nothing_there\n",
        "line 1: ImportError: cannot import name 'nothing_there'",
    ),
    "relative": ("from .beside import Thing\n", "line 1: ImportError: attempted relative import"),
    "declaration": (
        "from fusion_bench.contract import FusionModule\n\nclass Half(FusionModule):\n    width = None\n",
        "line 3: TypeError: Half does not declare citation, listens, position_code, search_space",
    ),
    "late_syntax": ("\nreturn 3\n", "line 2: 'return' outside function"),
    "syntax": ("class B:\n    def f(self:\n", "line 2: '(' was never closed"),
    "null": ("x = 1\n\0\n", "source code string cannot contain null bytes"),
    "broken_package": ("\nimport no_python_inside\n", "no_python_inside.py, line 2: invalid syntax"),
}


@pytest.mark.parametrize(("text", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_one_sentence_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "no_python_inside.py").write_text("x = 1\nclass :\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "beside_it.py").write_text("")
    (folder / "faulty.py").write_text(f"{text}\nclass A: ...\n")
    for _ in range(2):  # a file that failed half way fails again
        with pytest.raises(FusionBenchError) as caught:
            things().load("faulty.py:A", folder)
        message = str(caught.value)
        assert sentence in message
        assert message.startswith(f"{folder / 'faulty.py'}")
        assert len(message.splitlines()) == 1
    # The same text in the folder of a cell, whose file is not known there.
    if "null" not in sentence and "never closed" not in sentence:
        with pytest.raises(FusionBenchError, match=r"^the module file of A, line \d+: "):
            Target("file:A", f"{text}\nclass A: ...\n").load()


def test_a_package_that_fails_is_named_with_its_own_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "a_faulty_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "latin.py").write_bytes("class A:\n    x = 'caf\u00e9'\n".encode("latin-1"))
    (package / "exits.py").write_text("from a_faulty_package import helper\nclass A: ...\n")
    (package / "helper.py").write_text("import sys\n\nsys.exit()\n")
    for module, sentence in (
        ("a_faulty_package.latin", rf"{package / 'latin.py'}, line \d+: .*'utf-8' codec can't decode"),
        ("a_faulty_package.exits", rf"{package / 'helper.py'}, line 3: it ends the program"),
        ("a_faulty_package.gone", r"cannot import 'a_faulty_package.gone:A': there is no module"),
        ("fusion_bench.data.gone", r"cannot import 'fusion_bench.data.gone:A': there is no module"),
    ):
        with pytest.raises(FusionBenchError, match=sentence):
            things().load(f"{module}:A")


@pytest.mark.parametrize("name", [":A", ".relative:A", "two words:A", "package:", "package:A.B", "package:1"])
def test_what_cannot_be_a_reference_is_refused(name: str) -> None:
    with pytest.raises(FusionBenchError, match=r"names no class; write package\.module:Class"):
        things().load(name)


def test_the_encoding_of_a_file_is_read_as_python_reads_it(tmp_path: Path) -> None:
    text = "\nclass A:\n    word = 'caf\u00e9'\n"
    plain = things().resolve("plain.py", _written(tmp_path / "plain.py", text.encode()).parent)
    for name, content in (
        ("cookie", b"# coding: latin-1" + text.encode("latin-1")),
        ("mark", b"\xef\xbb\xbf" + text.encode()),
        ("lines", text.replace("\n", "\r\n").encode()),
    ):
        target = things().resolve(_written(tmp_path / f"{name}.py", content).name, tmp_path)
        assert target.load().word == "caf\u00e9"
        assert name == "cookie" or target == plain
    _written(tmp_path / "latin.py", text.encode("latin-1"))
    with pytest.raises(
        FusionBenchError, match=r"latin\.py, line 3: this is not UTF-8 text; save the file as"
    ):
        things().resolve("latin.py", tmp_path)
    _written(tmp_path / "unknown.py", b"# coding: klingon" + text.encode())
    with pytest.raises(FusionBenchError, match=r"unknown\.py, line 1: unknown encoding: klingon"):
        things().resolve("unknown.py", tmp_path)


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    for name in ("folder.py", "pipe.py"):
        with pytest.raises(FusionBenchError, match=rf"cannot read the module file .*{name}: it is no file"):
            things().resolve(name, tmp_path)


def test_a_module_sees_neither_our_arguments_nor_our_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ["fusion-bench", "plan", "study.yaml", "--json"]
    monkeypatch.setattr(sys, "argv", ours)
    (tmp_path / "greets.py").write_text("import sys\nprint('hello')\nclass A:\n    seen = list(sys.argv)\n")
    assert things().load("greets.py", tmp_path).seen == [str(tmp_path / "greets.py")]
    assert sys.argv is ours
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_ctrl_c_while_a_module_is_imported_stays_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("class A: ...\nraise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        things().load("slow.py", tmp_path)


A_CLASS = Counter
WRONG_VALUES: dict[Any, Any] = {
    "class": Counter,
    "path": "pathlib.PurePath",
    "number": 3,
    "good": "pathlib:Path",
}
WRONG_NAMES: dict[Any, Any] = {3: "pathlib:Path"}


def test_a_catalogue_that_cannot_be_read_costs_its_own_names_alone(offer: Offer) -> None:
    offer("ONE", "A_CLASS", "GONE", "WRONG_NAMES", "WRONG_VALUES")
    registry = things()
    assert list(registry.entries()) == ["counter", "good", "ordered"]
    broken = {offer.name: offer for offer in registry.broken()}
    assert broken.keys() == {"a_class", "gone", "wrong_names", "class", "path", "number"}
    assert (
        broken["a_class"].reason
        == "package_a_class:A_CLASS is no mapping from names to 'package.module:Class'"
    )
    assert broken["wrong_names"].reason.endswith("is no mapping from names to 'package.module:Class'")
    assert broken["gone"].reason == "cannot import 'package_gone:GONE': KeyError: 'GONE'"
    assert broken["class"].reason.startswith(
        "its value is <class 'collections.Counter'>; the package must write"
    )
    with pytest.raises(
        BrokenOfferError, match="the thing path of package_wrong_values:WRONG_VALUES: its value is"
    ):
        registry.resolve("path")
    with pytest.raises(
        UnknownNameError, match=r"unknown thing 'gon'.*; the thing gone of package_gone:GONE: cannot"
    ):
        registry.resolve("gon")
