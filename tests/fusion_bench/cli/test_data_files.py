"""``fusion-bench data`` and ``bench input`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_bench.cli.main import main

TOY = ("--set", 'images={"train": 8, "select": 2, "evaluate": 2}', "--set", "size=[16, 24]")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_a_built_in_data_set_is_made_verified_shown_and_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, sheet, sums = tmp_path / "mini", tmp_path / "sheet.png", tmp_path / "sums.json"
    assert run("data", "make", "miniclevr", "--out", str(root), *TOY) == 0
    assert "train: " in capsys.readouterr().out
    assert run("data", "verify", "miniclevr", "--root", str(root), *TOY, "--manifest", str(sums)) == 0
    assert "complete" in capsys.readouterr().out
    assert len([name for name in json.loads(sums.read_text()) if name.endswith(".png")]) == 12
    assert (
        run("data", "show", "miniclevr", "--root", str(root), *TOY, "--out", str(sheet), "--count", "3") == 0
    )
    assert sheet.stat().st_size > 1000
    next(root.rglob("*.png")).write_bytes(b"no picture")
    assert run("data", "verify", "miniclevr", "--root", str(root), *TOY) == 1
    assert "is damaged or not an image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "clevr", "--out", "x"), "clevr is not built in; download its files from https://"),
        (("make", "miniclevr", "--out", "x", "--set", "sizes=[2, 3]"), "does not accept these settings"),
        (("make", "miniclevr", "--out", "x", "--set", "sizes"), "write KEY=VALUE"),
        (("show", "clevr", "--root", "x", "--out", "x.jpg"), "write a name that ends in .png"),
        (("verify", "clever", "--root", "x"), "did you mean 'clevr'"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_way_to_a_batch_is_timed_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--size", "16", "24", "--images", "4", "--samples", "64")
    assert run("bench", "input", "miniclevr", *TOY, *size, "--json") == 0
    rates = json.loads(capsys.readouterr().out)
    assert len(rates) == 9
    assert all(rate["per_second"] == rate["count"] / rate["seconds"] > 0 for rate in rates)
