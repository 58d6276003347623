"""Your own module, in one file outside the project: write it, name it in a study, read it in the report."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.paths import RunPaths

MODULE = '''
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from fusion_bench.contract import Choice, Citation, FusionModule, Language, Listens, PositionCode, Space, Width


class Gate(FusionModule):
    """A sigmoid gate per channel, made from the sentence."""

    citation: ClassVar[Citation] = Citation("My gate", "Me", "in preparation", 2026, "https://example.org")
    width: ClassVar[Width | None] = Width("hidden", step=8, minimum=8)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        return {"hidden": Choice((32, 64, 128))}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Sequential(nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return visual * self.gate(language.sentence).sigmoid()[:, :, None, None]  # [B, C, H, W]
'''

STUDY = """
version: 1
name: mine
title: Is my gate any good?
data: {name: "toys:Squares", image_size: [32, 32]}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: "toys:MeanText"}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 2, batch_size: 16}
arms:
  gate: {module: gate.py, hidden: 16}      # the file beside this study
  film: {module: film}
reference: film
controls: [question_only]
seeds: [0, 1]
"""


def test_a_module_in_one_file_trains_and_appears_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "gate.py").write_text(MODULE)
    (tmp_path / "mine.yaml").write_text(STUDY)

    study = read_study(tmp_path / "mine.yaml")
    paths = RunPaths(tmp_path / "runs", {}, {})
    executor = InlineExecutor(WorkerSettings(paths, workers=1, threads=1))
    ran = StudyRun(study, paths, lambda: executor, SilentObserver(), RunOptions()).run()
    report = write_report(collect(study, paths), tmp_path / "report").read_text()

    assert "`gate`" in report
    assert "Me, in preparation 2026" in report
    # Its text travels with the cells that use it: they run wherever they are taken.
    (cell, *_) = (cell for cell in ran.cells if cell.arm == "gate")
    assert cell_folder(paths.runs, cell.id).config().arm.target.source == MODULE
