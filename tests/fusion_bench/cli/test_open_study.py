"""Tests of data sets that a command names, which are those that a study names."""

from pathlib import Path

import pytest

from fusion_bench.cli.open_study import data_config
from fusion_bench.errors import FusionBenchError

IMAGES = "images={train: 40, select: 10, evaluate: 10}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kinds=locate", "kinds=[zero_hop]"),
        ("kinds=reason", "kinds=null"),
        ("kinds=[one_hop, zero_hop]", "kinds=[zero_hop, one_hop, zero_hop]"),
        ("attributes=[shape, size, color, material]", "attributes=null"),
    ],
)
def test_spellings_of_one_setting_name_one_data_set(one: str, other: str) -> None:
    """Else a command would index, draw and cache the same files again beside those of a study."""
    assert data_config("miniclevr", (IMAGES, one)) == data_config("miniclevr", (IMAGES, other))


def test_other_settings_name_another_data_set() -> None:
    assert data_config("miniclevr", (IMAGES, "kinds=locate")) != data_config(
        "miniclevr", (IMAGES, "kinds=relate")
    )


def test_an_adapter_whose_spelling_fails_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "spelled.py"
    file.write_text(
        "from fusion_bench.data.miniclevr.dataset import MiniClevr\n\n\n"
        "class Spelled(MiniClevr):\n"
        "    @classmethod\n"
        "    def canonical_settings(cls, settings):\n"
        "        return {'kinds': settings['kinds']}\n"
    )
    with pytest.raises(FusionBenchError, match=r"Spelled\.canonical_settings fails: .*kinds"):
        data_config(str(file), (IMAGES,))
