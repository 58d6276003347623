"""Texts are read as trees: YAML 1.2, the line of every key, and bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Location, Node, merge_nodes, set_value
from fusion_bench.spec.document.yaml import read_text

FILE = Location(Path("x.yaml"))


def read(text: str) -> Node:
    problems = Problems()
    tree = read_text(text, FILE, problems)
    assert not problems, problems.error()
    assert tree is not None
    return tree


def mistakes(text: str) -> list[str]:
    problems = Problems()
    read_text(text, FILE, problems)
    return str(problems.error()).splitlines()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ('"1e-4"', "1e-4"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("012", 12),
        ("-0.0", 0.0),
        ('"<<"', "<<"),
        ("&again 1", 1),
        ("0x1F", 31),
        ("2026-11-23", "2026-11-23"),
        ("[1, 2.5]", [1, 2.5]),
        ("", None),
    ],
)
def test_values_are_those_of_yaml_1_2(written: str, value: object) -> None:
    plain = read(f"key: {written}").children["key"].plain()
    assert plain == value
    assert type(plain) is type(value)


def test_every_key_and_item_has_its_line_and_path() -> None:
    tree = read("a:\n  b: 1\n  c:\n    - 2\n    - d: 3\n")
    c = tree.children["a"].children["c"]
    assert (c.path, c.location.line) == ("a.c", 3)
    assert isinstance(c.value, list)
    assert (c.value[0].path, c.value[0].location.line) == ("a.c[0]", 4)
    assert (c.value[1].children["d"].path, c.value[1].children["d"].location.line) == ("a.c[1].d", 5)


def test_an_alias_stands_for_its_value() -> None:
    assert read("a: &x {k: 1}\nb: *x").plain() == {"a": {"k": 1}, "b": {"k": 1}}


def test_duplicate_keys_are_refused_with_both_lines() -> None:
    assert mistakes("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        "x.yaml, line 4: b.c: duplicate key, already given in line 3",
        "x.yaml, line 5: a: duplicate key, already given in line 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "x.yaml, line 2: this is not YAML: expected ',' or ']', but got ':'"),
        ("a: b: c\n", "x.yaml, line 1: this is not YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 1\n", "x.yaml, line 2: this is not YAML: but found another document"),
        ("a: *nobody\n", "x.yaml, line 1: this is not YAML: found undefined alias 'nobody'"),
        ("a: .nan\n", "x.yaml, line 1: a: must be a finite number, not .nan"),
        ("a: !!python/name:os.system x\n", "x.yaml, line 1: a: the tag"),
        ("a: &x [*x]\n", "x.yaml, line 1: a[0]: an alias may not be used inside the value that it names"),
        ("? [1]\n: 2\n", "x.yaml, line 1: a key must be plain text, not a list or a mapping"),
        (
            "a: &a [" + "0, " * 200 + "]\nb: [" + "*a, " * 200 + "]\n",
            "x.yaml, line 1: there are more than 10,000 values (an alias counts as often as it is used); write fewer",
        ),
        (
            "a: " + "[" * 900 + "]" * 900,
            "x.yaml, line 1: lists and mappings are nested too deeply; write at most 100",
        ),
        ("a: 1\nb: " + "{c: " * 101 + "}" * 101, "x.yaml, line 2: lists and mappings are nested too deeply"),
        ("- " * 5000, "x.yaml, line 1: lists and mappings are nested too deeply"),
        ("a: 1\nb: [" + "1, " * 20_000 + "]\n", "x.yaml, line 2: there are more than 10,000 values"),
        (
            "a: " + "x" * 1_000_001,
            "x.yaml, line 1: a study and the files that it extends may hold at most 1 MB of text",
        ),
        ("a: !!omap [b: 1]\n", "x.yaml, line 1: a: the tag tag:yaml.org,2002:omap is not supported"),
        ("a: !!set {b, c}\n", "x.yaml, line 1: a: the tag tag:yaml.org,2002:set is not supported"),
        (
            "a: !!python/object:os.Thing {b: 1}\n",
            "x.yaml, line 1: a: the tag tag:yaml.org,2002:python/object",
        ),
        ("!own\na: 1\n", "x.yaml, line 1: the tag !own is not supported"),
        ("a: {!!binary b: 1}\n", "x.yaml, line 1: a: the tag tag:yaml.org,2002:binary is not supported"),
        (
            "x: &x {k: 1}\ny:\n  <<: *x\n",
            "x.yaml, line 3: y: YAML merges (<<) are not supported; write the keys out",
        ),
        ("x: &x {k: 1}\n<<: [*x]\n", "x.yaml, line 2: YAML merges (<<) are not supported"),
        ("arms: {<<: {k: 1}, a: 1}\n", "x.yaml, line 1: arms: YAML merges (<<) are not supported"),
        ("a: 9223372036854775808\n", "x.yaml, line 1: a: is too large a whole number"),
        ('a: "x\\0y"\n', "x.yaml, line 1: a: text may not hold the character U+0000"),
        ('a: "\\ud800"\n', "x.yaml, line 1: a: text may not hold the character U+D800"),
        ('"a\\u001b[1m": 1\n', "x.yaml, line 1: a key may have no character U+001B"),
        ("? " + "x" * 1001 + "\n: 1\n", "x.yaml, line 1: a key may have at most 1,000 characters"),
    ],
)
def test_a_text_that_is_not_plain_yaml_gives_one_clear_line(text: str, message: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith(message)


def test_merging_joins_mappings_and_replaces_everything_else() -> None:
    base, override = read("a: {b: 1, c: [1, 2]}\nd: 4"), read("a: {c: [3]}\ne: 5")
    tree = merge_nodes(base, override)
    assert tree is not None
    assert tree.plain() == {"a": {"b": 1, "c": [3]}, "d": 4, "e": 5}


def test_set_value_uses_the_longest_existing_key() -> None:
    tree = read("grid:\n  fusion.depth: [1]\n  plain: 2\n")
    value = Node([], Location(override="x"))
    assert set_value(tree, "grid.fusion.depth", value).plain() == {"grid": {"fusion.depth": [], "plain": 2}}
    assert set_value(tree, "train.epochs", value).plain() == {**tree.plain(), "train": {"epochs": []}}  # type: ignore[dict-item]
    assert set_value(tree, "grid.plain.deeper", value).children["grid"].plain() == {
        "fusion.depth": [1],
        "plain": {"deeper": []},
    }
