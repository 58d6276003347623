"""Study files are read with the files that they extend and the overrides, within bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_bench.spec.document.files import read_study_tree
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Location


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


def test_a_null_drops_an_inherited_key_and_hides_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("data: {name: x, size: 3, root: f}\narms: {a: 1, c: 2}\n")
    (tmp_path / "s.yaml").write_text(
        "extends: b.yaml\ndata: {name: y, size: null, sise: null}\narms: {a: null, b: null}\n"
    )
    problems = Problems()
    tree = read_study_tree(tmp_path / "s.yaml", [], problems)
    assert tree is not None and not problems
    # A key that the base does not have is kept, so that validation refuses it by name.
    assert tree.plain() == {
        "data": {"name": "y", "root": "f", "sise": None},
        "arms": {"c": 2, "b": None},
    }


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


def chain(folder: Path) -> Path:
    for number in range(101):
        (folder / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    (folder / "101.yaml").write_text("version: 1\n")
    return folder / "0.yaml"


def fan(folder: Path) -> Path:
    """Write 12 files of which each extends the next ten times: 10^11 files to read."""
    for number in range(11):
        (folder / f"{number}.yaml").write_text(f"extends: [{', '.join([f'{number + 1}.yaml'] * 10)}]\n")
    (folder / "11.yaml").write_text("version: 1\n")
    return folder / "0.yaml"


def aliases(folder: Path) -> Path:
    """Write 1 kB that stands for 10^9 values."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    (folder / "s.yaml").write_text("\n".join(lines))
    return folder / "s.yaml"


def deep(folder: Path) -> Path:
    (folder / "s.yaml").write_text("".join(f"{' ' * level}k:\n" for level in range(900)))
    return folder / "s.yaml"


def long_list(folder: Path) -> Path:
    (folder / "s.yaml").write_text("seeds: [" + "1, " * 3_300_000 + "]")
    return folder / "s.yaml"


def many_files_of_some_size(folder: Path) -> Path:
    names = [f"{number}.yaml" for number in range(90)]
    for name in names:
        (folder / name).write_text("version: 1\n" + "# " + "x" * 300_000)
    (folder / "s.yaml").write_text(f"extends: [{', '.join(names)}]\n")
    return folder / "s.yaml"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "s.yaml")
    return folder / "s.yaml"


def extends_a_device(folder: Path) -> Path:
    (folder / "s.yaml").write_text("version: 1\nextends: /dev/zero\n")
    return folder / "s.yaml"


def extends_a_link_to_itself(folder: Path) -> Path:
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "s.yaml").write_text("version: 1\nextends: loop.yaml\n")
    return folder / "s.yaml"


def folder_itself(folder: Path) -> Path:
    return folder


READ = """
import resource, sys
from pathlib import Path
from fusion_bench.spec.document.files import read_study_tree
from fusion_bench.spec.document.problems import Problems

resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
problems = Problems()
assert read_study_tree(Path(sys.argv[1]), [], problems) is None
print(problems.error())
"""


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (chain, "99.yaml, line 1: extends: a study may read at most 100 files"),
        (fan, "10.yaml, line 1: extends[1]: a study may read at most 100 files"),
        (
            aliases,
            "s.yaml, line 1: there are more than 10,000 values (an alias counts as often as it is used)",
        ),
        (
            deep,
            "s.yaml, line 101: lists and mappings are nested too deeply; write at most 100 inside each other",
        ),
        (long_list, "s.yaml is larger than 1 MB, the most that a study may have; is it a study file?"),
        (
            many_files_of_some_size,
            "3.yaml, line 1: a study and the files that it extends may hold at most 1 MB",
        ),
        (pipe, "s.yaml: it is a pipe or a device, not a file"),
        (extends_a_device, "s.yaml, line 2: extends: cannot read /dev/zero: it is a pipe or a device"),
        (extends_a_link_to_itself, "loop.yaml: Too many levels of symbolic links"),
        (folder_itself, "Is a directory"),
    ],
)
def test_a_study_without_bounds_is_refused_within_a_gigabyte_and_half_a_minute(
    tmp_path: Path, write: Callable[[Path], Path], message: str
) -> None:
    file = write(tmp_path)
    read = subprocess.run(
        [sys.executable, "-c", READ, file],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert read.returncode == 0, read.stderr[-2000:]
    (line,) = read.stdout.splitlines()
    assert message in line


def test_texts_in_other_encodings_are_read_or_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("version: 1\r\nname: x\r\n", encoding="utf-8-sig")
    problems = Problems()
    tree = read_study_tree(file, [], problems)
    assert tree is not None and tree.plain() == {"version": 1, "name": "x"}
    file.write_text("version: 1\n", encoding="utf-16")
    assert read_study_tree(file, [], problems) is None
    assert str(problems.error()).endswith("s.yaml is not UTF-8 text")


def test_an_override_with_null_drops_an_arm_or_a_setting_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("data: {name: x, size: 3}\narms: {a: 1, b: 2}\nhead: {pool: max}\n")
    problems = Problems()
    tree = read_study_tree(tmp_path / "s.yaml", ["arms.a=null", "data.size=null", "head.pool=null"], problems)
    assert tree is not None and not problems
    assert tree.plain() == {"data": {"name": "x"}, "arms": {"b": 2}, "head": {"pool": None}}


def test_an_override_of_many_levels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\n")
    problems = Problems()
    read_study_tree(tmp_path / "s.yaml", ["a." * 2000 + "a=1"], problems)
    assert str(problems.error()) == "--set a.a.a.a.a.a.a.a.a.a....: there is no such key"
