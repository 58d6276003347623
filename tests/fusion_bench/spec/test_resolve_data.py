"""Settings of a built-in data set: one cell and one folder for all spellings, one sentence for a mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fusion_bench.data.clevr import KIND_STARTS
from fusion_bench.errors import StudyFileError
from fusion_bench.registry import Registry
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.training.paths import RunPaths
from study_fakes import fake_catalogue

STUDY = """\
version: 1
name: tiers
data:
  name: {name}
  image_size: [96, 144]
  {own}
{lines}
backbone: {{name: test_resnet, layer: 2}}
arms: {{film: {{module: film}}, plain: {{module: plain}}}}
reference: plain
controls: false
seeds: 1
"""
IMAGES = "images: {train: 20, select: 5, evaluate: 5}\n  things: [2, 3]"
EVERY = f"[{', '.join(reversed(KIND_STARTS))}]"

Read = Callable[..., Study]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a study with these lines under ``data``."""
    catalogue = replace(
        fake_catalogue(),
        datasets=Registry(
            "data set",
            builtin={
                "clevr": "fusion_bench.data.clevr:Clevr",
                "miniclevr": "fusion_bench.data.miniclevr.dataset:MiniClevr",
                "miniclevr_refer": "fusion_bench.data.miniclevr.referring.dataset:MiniClevrRefer",
            },
        ),
    )

    def read_lines(*lines: str, name: str = "miniclevr", own: str = IMAGES) -> Study:
        file = tmp_path / "tiers.yaml"
        file.write_text(STUDY.format(name=name, own=own, lines="\n".join(f"  {line}" for line in lines)))
        return read_study(file, (), catalogue=catalogue)

    return read_lines


def asked(study: Study) -> tuple[list[str], Path]:
    """Return the ids of a study's cells and the folder of its data."""
    return [arm.config.id for arm in study.arms], RunPaths(Path(), {}, {}).root(study.data)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["kinds: locate"], ["kinds: [zero_hop]"]),
        (["kinds: relate"], ["kinds: [one_hop]"]),
        (["kinds: reason"], [f"kinds: {EVERY}"]),
        (["kinds: reason"], []),
        (["kinds: null"], []),
        (["kinds: [one_hop, zero_hop]"], ["kinds: [zero_hop, one_hop]"]),
        (["kinds: [one_hop, zero_hop, one_hop]"], ["kinds: [zero_hop, one_hop]"]),
        (["wordings: all"], []),
        (["attributes: [color, material, shape, size]"], []),
        (["attributes: null"], []),
        (["attributes: [shape, color]"], ["attributes: [color, shape]"]),
        (["kinds: locate", "wordings: one"], ["wordings: one", "kinds: [zero_hop]"]),
    ],
)
def test_spellings_of_one_value_are_one_cell_and_one_folder(
    read: Read, one: list[str], other: list[str]
) -> None:
    assert asked(read(*one)) == asked(read(*other))


def test_other_values_are_other_cells_and_other_folders(read: Read) -> None:
    settings = [
        *([], ["kinds: locate"], ["kinds: relate"], ["kinds: [zero_hop, one_hop]"]),
        *(["wordings: one"], ["attributes: [shape, size, color]"], ["attributes: [shape, color, material]"]),
    ]
    found = [asked(read(*lines)) for lines in settings]
    assert len({ids[0] for ids, _ in found}) == len({folder for _, folder in found}) == len(settings)


@pytest.mark.parametrize(("kinds", "same"), [("locate", "[zero_hop]"), ("reason", "null"), (EVERY, "null")])
def test_published_data_take_the_tiers_too(read: Read, kinds: str, same: str) -> None:
    one, other = (read(f"kinds: {value}", name="clevr", own="root: .") for value in (kinds, same))
    assert [arm.config.id for arm in one.arms] == [arm.config.id for arm in other.arms]


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        (
            "kinds: locat",
            "line 8: data.kinds",
            "must be 'locate', 'relate' or 'reason' or a list, not 'locat' (did you mean 'locate'?)",
        ),
        ("kinds: [zero_hop, 3]", "line 8: data.kinds[1]", "must be text, not 3 (write it in quotes)"),
        ("wordings: al", "line 8: data.wordings", "must be 'one' or 'all', not 'al' (did you mean 'all'?)"),
        ("wordings: 1", "line 8: data.wordings", "must be 'one' or 'all', not 1"),
        ("attributes: shape", "line 8: data.attributes", "must be a list, not 'shape'"),
        (
            "attributes: [shape, colour]",
            "line 8: data.attributes[1]",
            "must be 'shape', 'size', 'color' or 'material', not 'colour' (did you mean 'color'?)",
        ),
        (
            "kinds: [zero_hop, one_hopp]",
            "line 3: data",
            "MiniClevr refuses these settings: CLEVR has no question kind 'one_hopp' (did you mean 'one_hop'?)",
        ),
        (
            "attributes: [size]",
            "line 3: data",
            "MiniClevr refuses these settings: the attributes size are too few for questions of the kind comparison "
            "in scenes of 3 objects; let more attributes vary, draw fewer objects (things) or ask for something else",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(
    read: Read, tmp_path: Path, line: str, place: str, message: str
) -> None:
    with pytest.raises(StudyFileError) as raised:
        read(line)
    assert str(raised.value) == f"{tmp_path / 'tiers.yaml'}, {place}: {message}"


def test_expressions_take_attributes_and_no_wordings(read: Read) -> None:
    found = asked(read("attributes: [shape, color]", name="miniclevr_refer"))
    assert found == asked(read("attributes: [color, shape]", name="miniclevr_refer"))
    assert found != asked(read(name="miniclevr_refer"))
    with pytest.raises(StudyFileError, match=r"data\.wordings: unknown key"):
        read("wordings: one", name="miniclevr_refer")


def test_a_data_set_whose_spelling_fails_is_one_sentence_with_its_place(tmp_path: Path, read: Read) -> None:
    (tmp_path / "spelled.py").write_text(
        "from fusion_bench.data.miniclevr.dataset import MiniClevr\n\n\n"
        "class Spelled(MiniClevr):\n"
        "    @classmethod\n"
        "    def canonical_settings(cls, settings):\n"
        "        return {'kinds': settings['kinds']}\n"
    )
    with pytest.raises(StudyFileError, match=r"line \d+: data: Spelled\.canonical_settings fails: .*kinds"):
        read(name="spelled.py")
