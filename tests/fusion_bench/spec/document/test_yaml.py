"""Study files are read as trees: YAML 1.2, the line of every key, ``extends`` and ``--set``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Location, Node, merge_nodes, set_value
from fusion_bench.spec.document.yaml import read_study_tree, read_text

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
            "x.yaml, line 1: there are more than 20,000 values",
        ),
        ("a: " + "[" * 500 + "]" * 500, "x.yaml, line 1: lists and mappings are nested too deeply"),
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


def test_a_study_extends_another_and_keeps_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "b.yaml").write_text("train:\n  epochs: 1\n  clip: 2\nseeds: [1, 2]\n")
    (tmp_path / "s.yaml").write_text("extends: base/b.yaml\nseeds: [3]\ntrain: {epochs: 5}\n")
    problems = Problems()
    tree = read_study_tree(tmp_path / "s.yaml", ["train.clip=1e-1"], problems)
    assert tree is not None and not problems
    assert tree.plain() == {"train": {"epochs": 5, "clip": 0.1}, "seeds": [3]}
    assert tree.children["seeds"].location == Location(tmp_path / "s.yaml", 2)
    assert tree.children["train"].children["clip"].location == Location(override="train.clip")
    assert tree.children["train"].children["epochs"].location.folder == tmp_path


def test_a_null_under_data_drops_an_inherited_key_and_hides_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("data: {name: x, size: 3, root: f}\narms: {a: 1}\n")
    (tmp_path / "s.yaml").write_text(
        "extends: b.yaml\ndata: {name: y, size: null, sise: null}\narms: {a: null}\n"
    )
    problems = Problems()
    tree = read_study_tree(tmp_path / "s.yaml", [], problems)
    assert tree is not None and not problems
    # A key that the base does not have is kept, so that validation refuses it by name.
    assert tree.plain() == {"data": {"name": "y", "root": "f", "sise": None}, "arms": {"a": None}}


def test_a_study_may_extend_several_files_and_later_ones_override_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("arms: {x: 1, y: 2}\nname: a\n")
    (tmp_path / "b.yaml").write_text("arms: {y: 3, z: 4}\nname: b\n")
    (tmp_path / "s.yaml").write_text("extends: [a.yaml, b.yaml]\nname: s\n")
    problems = Problems()
    tree = read_study_tree(tmp_path / "s.yaml", [], problems)
    assert tree is not None and not problems
    assert tree.plain() == {"arms": {"x": 1, "y": 3, "z": 4}, "name": "s"}
    (tmp_path / "s.yaml").write_text("extends:\n  - a.yaml\n  - 3\n")
    read_study_tree(tmp_path / "s.yaml", [], problems)
    assert str(problems.error()).startswith(
        f"{tmp_path}/s.yaml, line 3: extends[1]: must be the path of another"
    )


def test_a_circle_of_studies_is_refused(tmp_path: Path) -> None:
    for name, other in [("a", "b"), ("b", "a")]:
        (tmp_path / f"{name}.yaml").write_text(f"version: 1\nextends: {other}.yaml\n")
    problems = Problems()
    assert read_study_tree(tmp_path / "a.yaml", [], problems) is None
    assert str(problems.error()) == (
        f"{tmp_path}/b.yaml, line 2: extends: files extend each other in a circle: "
        "a.yaml -> b.yaml -> a.yaml; remove one extends"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "--set epochs: write KEY=VALUE, for example --set train.epochs=3"),
        ("a=[1", "--set a: this is not YAML"),
        ("extends=x.yaml", "--set extends: extends can be written in the study file only"),
    ],
)
def test_a_mistake_in_an_override_cites_the_override(tmp_path: Path, override: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\n")
    problems = Problems()
    read_study_tree(tmp_path / "s.yaml", [override], problems)
    assert str(problems.error()).startswith(message)


def test_a_missing_file_cites_the_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\nextends: nowhere.yaml\n")
    problems = Problems()
    assert read_study_tree(tmp_path / "s.yaml", [], problems) is None
    assert str(problems.error()) == (
        f"{tmp_path}/s.yaml, line 2: extends: cannot read {tmp_path}/nowhere.yaml: No such file or directory"
    )
