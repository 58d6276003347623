"""``fusion-bench explain`` writes one PNG and prints its path."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from command_line import paths_of
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cli.explain import ExplainOptions, explain_and_draw
from fusion_bench.cli.main import main
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from toys import STUDY, study_file

TEXT = STUDY.replace("seeds: [0, 1]", "seeds: [0]").replace(
    '  weaker: {module: "toys:Product", gain: 0.5}\n',
    "  la conv: {module: laconv, kernel_size: 3, groups: 2, heads: 2}\n",
)


@pytest.fixture(scope="module")
def request_for_sample(tmp_path_factory: pytest.TempPathFactory) -> ExplainOptions:
    """A sample of a trained study."""
    folder = tmp_path_factory.mktemp("study")
    file, runs = study_file(folder, TEXT), folder / "runs"
    study = read_study(file)
    paths = paths_of(study, runs)
    settings = WorkerSettings(paths, workers=1, threads=1, keep_weights=True)
    StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    return ExplainOptions(
        study=file,
        arm="la conv",
        sample="test-0-red",
        image=None,
        sentence=None,
        seed=None,
        copy=None,
        out=None,
        runs=runs,
        overrides=(),
        data=(),
    )


def test_a_sample_is_drawn_into_the_study_s_folder(
    request_for_sample: ExplainOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    explain_and_draw(request_for_sample)
    (file,) = (request_for_sample.runs / "studies/toy/explained").iterdir()
    assert re.fullmatch(r"[0-9a-f]{16}-copy1-test-0-red\.png", file.name)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("la conv, seed 0, copy 1 of 1: is it red? -> ")
    assert lines[0].endswith(", truth yes")
    assert lines[1] == f"Picture: {file}"
    with Image.open(file) as picture:
        assert picture.width == 1296


def test_a_picture_and_a_sentence_are_drawn_where_they_are_wanted(
    request_for_sample: ExplainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "mine.png"
    Image.new("RGB", (50, 40), "red").save(image)
    request = dataclasses.replace(
        request_for_sample, sample=None, image=image, sentence="Is it red?", out=tmp_path / "seen" / "it.png"
    )
    explain_and_draw(request)
    assert request.out is not None and request.out.exists()
    assert "truth" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sample": None}, "nothing to explain: give --sample ID, or both --image FILE and --sentence TEXT"),
        ({"sample": None, "image": Path("a.png")}, "nothing to explain"),
        ({"sentence": "is it red?"}, "--sample test-0-red has its own image and sentence"),
        ({"out": Path("a.jpg")}, "--out a.jpg: the output is a PNG"),
        ({"arm": "laconv"}, r"no arm 'laconv' \(did you mean 'la conv'\?\)"),
        ({"arm": "product"}, "'product' cannot be explained"),
        ({"overrides": ("train.epochs=1",)}, "is not trained in"),
    ],
    ids=["nothing", "half", "both", "no PNG", "no arm", "silent arm", "not trained"],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(
    request_for_sample: ExplainOptions, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(FusionBenchError, match=message):
        explain_and_draw(dataclasses.replace(request_for_sample, **changed))  # type: ignore[arg-type]


def test_the_command_line_asks_the_same(
    request_for_sample: ExplainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", request_for_sample.study, "--arm", "la conv", "--sample", "test-0-red"]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                str(word)
                for word in (*arguments, "--runs", request_for_sample.runs, "--out", tmp_path / "it.png")
            ]
        )
    assert ended.value.code in {None, 0}
    assert (tmp_path / "it.png").exists()
    assert f"Picture: {tmp_path / 'it.png'}" in capsys.readouterr().out
