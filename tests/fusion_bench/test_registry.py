"""Names lead to classes through three doors: the harness, entry points, a file by its path."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from fusion_bench import registry as registry_module
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import CollisionError, Registry, Target, UnknownNameError, did_you_mean

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
    assert entries["path"].origin == "package_two:TWO (package_two:TWO)"
    assert things().load("path") is __import__("pathlib").PurePath


def test_a_collision_names_both_origins(offer: Offer) -> None:
    offer("ONE", "SAME")
    with pytest.raises(
        CollisionError, match=r"the thing 'ordered': package_one:ONE .* and package_same:SAME"
    ):
        things().resolve("counter")


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


def test_a_file_that_fails_while_it_runs_fails_again_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("class A: ...\nraise ValueError('half written')\n")
    target = things().resolve("raises.py", tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="half written"):
            target.load()
