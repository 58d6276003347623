"""Conversion of the authors' file to a file of this package and back: the same bits under the same names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from safetensors import safe_open
from torch import Tensor
from typer.testing import CliRunner

from fusion_bench.errors import WeightsError
from fusion_modules.laconvnet import OfficialLaConvNet, load_official, to_official
from fusion_modules.laconvnet.convert import convert_laconvnet
from official_laconvnet import CASES, WORDS, Case, one_number_each, random_weights

VOCABULARY = ("PAD", "UNK", "CLS", "the", "cube", "größte", "left")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files (about 100 MB each) are deleted after the test."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_network_gives_back_the_authors_state_dict(case: Case, prefix: str) -> None:
    weights = one_number_each(case)
    model = load_official({prefix + name: value for name, value in weights.items()})
    assert_same_bits(to_official(model), weights)


@pytest.mark.parametrize(
    ("case", "container", "prefix"),
    [
        (("s", "det"), "state_dict", "module."),
        (("s", "seg"), "net_state_dict", ""),
        (("b", "det"), "state_dict", ""),
        (("b", "seg"), "state_dict", "module."),
    ],
    ids=str,
)
def test_files_convert_and_give_back_the_authors_state_dict(
    folder: Path, case: Case, container: str, prefix: str
) -> None:
    weights = one_number_each(case)
    source, out = folder / "det_best.pth", folder / "converted.safetensors"
    torch.save({"epoch": 40, container: {prefix + name: value for name, value in weights.items()}}, source)
    convert_laconvnet(source, out)
    with safe_open(out, framework="pt") as file:
        notes = file.metadata()
    assert notes == {"format": "pt", "laconvnet": "1", "variant": case[0], "task": case[1], "epoch": "40"}
    assert_same_bits(to_official(out), weights)
    assert_same_bits(to_official(source), weights)


def test_special_numbers_keep_their_bits(folder: Path) -> None:
    """The numbers are negative zero, the smallest denormal, infinity, NaN with a payload, and a large counter."""
    weights = random_weights(("s", "det"))
    awkward = torch.tensor([-(2**31), 1, 0x7F800000, 0x7FC01234], dtype=torch.int32).view(torch.float32)
    weights["head.reg_preds.0.bias"] = awkward
    weights["visual_encoder.stem.conv.bn.num_batches_tracked"] = torch.tensor(2**62 + 1)
    torch.save(weights, folder / "bare.pth")
    convert_laconvnet(folder / "bare.pth", folder / "ours.safetensors")
    back = to_official(folder / "ours.safetensors")
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        bits = torch.int64 if value.dtype == torch.int64 else torch.int32
        assert torch.equal(back[name].view(bits), value.view(bits)), name


def test_a_converted_file_gives_the_same_network(folder: Path) -> None:
    weights = random_weights(("s", "seg"))
    torch.save({"epoch": 2, "state_dict": weights}, folder / "seg_best.pth")
    words = folder / "words.txt"
    words.write_text("\n".join(VOCABULARY), encoding="utf-8")
    result = CliRunner().invoke(
        attached(),
        [
            "convert",
            "laconvnet",
            str(folder / "seg_best.pth"),
            str(folder / "ours"),
            "--vocabulary",
            str(words),
        ],
    )
    assert result.exit_code == 0, result.output
    parameters = 22_121_678 - 300 * (1000 - WORDS)
    assert result.output == f"{folder / 'ours'}: LaConvNet-S seg, {parameters:,} parameters, {WORDS} words\n"
    model = load_official(folder / "ours")
    assert isinstance(model, OfficialLaConvNet)
    assert (model.variant, model.task, model.epoch, model.vocabulary) == ("s", "seg", 2, VOCABULARY)
    images, tokens = torch.rand(1, 3, 96, 96), torch.tensor([[3, 5, 4, 0]])
    with torch.inference_mode():
        mask = model(images, tokens)["mask"]
        assert mask.shape == (1, 96, 96)
        assert torch.equal(mask, load_official(weights)(images, tokens)["mask"])
    assert load_official(folder / "ours", words).vocabulary == VOCABULARY
    with pytest.raises(WeightsError, match=r"differs from the one that .* was converted with"):
        load_official(folder / "ours", VOCABULARY[::-1])
    with pytest.raises(WeightsError, match=r"ours is already a safetensors file; give the authors' \.pth"):
        convert_laconvnet(folder / "ours", folder / "twice")


def attached() -> typer.Typer:
    """Return an application with the command at its place in the command line."""
    main, convert = typer.Typer(), typer.Typer(no_args_is_help=True)
    convert.callback()(lambda: None)  # otherwise typer drops the name of a single command
    convert.command("laconvnet")(convert_laconvnet)
    main.add_typer(convert, name="convert")
    return main


def test_no_incomplete_file_remains_after_an_error(folder: Path) -> None:
    weights = one_number_each(("s", "det"))
    del weights["head.obj_preds.0.bias"]
    torch.save(weights, folder / "broken.pth")
    with pytest.raises(WeightsError, match=r"missing: head\.obj_preds\.0\.bias"):
        convert_laconvnet(folder / "broken.pth", folder / "out.safetensors")
    assert [path.name for path in folder.iterdir()] == ["broken.pth"]


def test_changed_weights_are_returned_changed() -> None:
    model = load_official(one_number_each(("s", "det")))
    with torch.no_grad():
        model.text.embedding.weight.fill_(-1)
    assert (to_official(model)["lang_encoder.embedding.weight"] == -1).all()


def test_the_command_line_starts_without_torch() -> None:
    program = "import sys, fusion_modules.laconvnet.convert; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
