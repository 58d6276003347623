"""A study beside the arms of a report: what it trains, what is refused before that, and what its report shows."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import typer
from rich.console import Console

from command_line import paths_of
from drawn_cells import DrawnCells
from fusion_bench import load_report
from fusion_bench.api.against import plan_against_report, report_beside, worse_arms
from fusion_bench.api.request import RunRequest
from fusion_bench.api.run import FinishedRun, report_on
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cli.run import run_and_say
from fusion_bench.comparing.against import AgainstReport, beside_report, plan_against
from fusion_bench.comparing.agreement import NotPairableError
from fusion_bench.comparing.compare import compare_reports
from fusion_bench.comparing.joined_cells import save_joined_cells
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.reporting.published.published_cells import CELLS_FILE, import_published, save_cells
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.counts import CellCounts
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun, study_folder
from toys import Squares, study_file

STUDY = """\
version: 1
name: base
title: A study with a report
data: {name: "toys:Squares", image_size: [32, 32]}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: "toys:MeanText"}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 1, batch_size: 16, learning_rate: 0.01}
controls: [prior]
arms:
  product: {module: "toys:Product"}
  equal: {module: "toys:Product", gain: 0.75}
seeds: [0, 1, 2]
contexts: {narrow: {head.hidden: 4}}
"""
MINE = STUDY.replace("name: base", "name: new").replace(
    'equal: {module: "toys:Product", gain: 0.75}', 'mine: {module: "toys:Product", gain: 0.5}'
)


def quiet() -> Console:
    return Console(file=io.StringIO())


def run(study: Study, runs: Path) -> list[str]:
    """Draw the cells of a study and its contexts and return the ids of those that were drawn now."""
    paths, ran = paths_of(study, runs), []
    for part in (study, *study.contexts.values()):
        cells = DrawnCells(WorkerSettings(paths, 1, threads=1))
        StudyRun(part, paths, lambda cells=cells: cells, SilentObserver(), RunOptions()).run()  # type: ignore[misc]
        ran += cells.ran
    return ran


@dataclass(frozen=True)
class Compared:
    """A published report, a study that was run against it, its runs folder, and the ids of the cells it trained."""

    published: Path
    study: Study
    runs: Path
    trained: list[str]

    def plan(self, study: Study | None = None) -> AgainstReport:
        study = study or self.study
        return plan_against(study, paths_of(study, self.runs), self.published, before_training=True)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("against")
    base = read_study(study_file(folder, STUDY, "base.yaml"))
    run(base, folder / "first")
    results = collect(base, paths_of(base, folder / "first"))
    save(results, folder / "reports" / "base")
    save_cells(results, folder / "first", folder / "reports" / "base")
    study = read_study(study_file(folder, MINE, "new.yaml"))
    plan = plan_against(
        study, paths_of(study, folder / "runs"), folder / "reports" / "base", before_training=True
    )
    return Compared(folder / "reports" / "base", study, folder / "runs", run(plan.study, folder / "runs"))


def test_only_the_arms_that_the_report_lacks_are_trained(compared: Compared) -> None:
    plan = compared.plan()
    assert plan.taken == ("product", "prior")
    assert [arm.label for arm in plan.study.arms] == ["mine"]
    assert plan.reference == "product"
    ids = {replace(arm.config, seed=seed).id for arm in plan.study.arms for seed in (0, 1, 2)}
    context = plan.study.contexts["narrow"]
    ids |= {replace(arm.config, seed=seed).id for arm in context.arms for seed in (0, 1, 2)}
    assert set(compared.trained) == ids and len(ids) == 6


def test_the_report_pairs_new_cells_with_published_samples(compared: Compared, tmp_path: Path) -> None:
    plan = compared.plan()
    own = collect(plan.study, paths_of(plan.study, compared.runs))
    joined = beside_report(own, compared.runs, plan)
    save(joined.results, tmp_path)
    report = load_report(tmp_path)
    published = load_report(compared.published)
    key = ["seed", "sample"]
    theirs = published.samples.query("arm == 'product' and split == 'test'").set_index(key)["score"]
    mine = own.samples.query("arm == 'mine' and split == 'test'").set_index(key)["score"]
    row = report.comparisons.set_index("arm").loc["mine"]
    assert row["estimate"] == pytest.approx((mine - theirs).mean(), abs=1e-12)
    assert row["verdict"] == "worse"
    assert set(report.arms["arm"]) == {"product", "equal", "mine", "prior"}
    assert report.reference == "product"
    assert worse_arms(build_tables(joined.results), plan, joined) == ("mine",)
    sentence = dict(joined.results.setup)["Arms of a report"]
    assert "product, equal and prior: from the report base" in sentence
    assert sentence.endswith("not trained again; mine: trained by the study new.")
    assert str(compared.published) not in sentence  # a path of this machine
    assert report.arms.set_index("arm")["latency_ms"].notna().to_dict() == {
        "mine": True,
        "product": False,
        "equal": False,
        "prior": False,
    }
    assert set(load_report(report.contexts["narrow"]).arms["arm"]) == {"product", "equal", "mine", "prior"}


def test_the_same_numbers_as_a_comparison_of_the_two_reports(compared: Compared) -> None:
    plan = compared.plan()
    own = collect(plan.study, paths_of(plan.study, compared.runs))
    tables = build_tables(beside_report(own, compared.runs, plan).results)
    folder = study_folder(compared.runs, "new") / "report"
    save(own, folder)  # without its cells, which lie in the runs folder around it
    found = compare_reports([compared.published, folder]).table.set_index("arm")
    for row in tables.comparisons.to_dict("records"):
        assert found.loc[row["arm"], ["estimate", "low", "p", "p_holm"]].tolist() == pytest.approx(
            [row[name] for name in ("estimate", "low", "p", "p_holm")], nan_ok=True
        )


def test_a_published_report_of_both_keeps_the_cells_of_both(compared: Compared, tmp_path: Path) -> None:
    plan = plan_against(
        compared.study, paths_of(compared.study, compared.runs), compared.published, before_training=False
    )
    joined = beside_report(collect(plan.study, paths_of(plan.study, compared.runs)), compared.runs, plan)
    save(joined.results, tmp_path / "new")
    save_joined_cells(joined, compared.runs, plan, tmp_path / "new")
    assert set(pd.read_parquet(tmp_path / "new" / CELLS_FILE)["arm"]) == {"product", "equal", "mine", "prior"}
    assert len(compare_reports([compared.published, tmp_path / "new"]).table) == 3
    assert (
        len(import_published(tmp_path / "new", tmp_path / "runs").taken) == 24
    )  # 4 arms, 3 seeds, 2 contexts


@pytest.mark.slow
def test_report_writes_both_and_publishes_them(compared: Compared, tmp_path: Path) -> None:
    shown = report_on(
        compared.study,
        paths_of(compared.study, compared.runs),
        tmp_path,
        quiet(),
        against=compared.published,
    )
    assert {arm.label for arm in shown.own.arms} == {"mine"}
    assert "from the report base" in shown.written.path.read_text()
    assert len(compare_reports([compared.published, tmp_path / "new"]).table) == 3


SETTINGS = {
    "train.epochs=3": "the setting train.epochs differs: 3 in the study new, 1 in base",
    "seeds=[0, 1]": "0, 1 in the study new, 0, 1, 2 in base",
    "contexts.narrow={head.hidden: 5}": "head.hidden differs: 5 in the study new--narrow, 4 in base, narrow",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_other_settings_are_refused_before_anything_is_trained(compared: Compared, setting: str) -> None:
    study = read_study(compared.study.path, [setting])
    with pytest.raises(NotPairableError) as found:
        compared.plan(study)
    assert SETTINGS[setting] in str(found.value)


Patch = Callable[[pytest.MonkeyPatch], None]
TODAY: dict[str, tuple[Patch, str]] = {
    "data": (lambda patch: patch.setattr(Squares, "manifest", lambda self: "other"), "the data"),
    "numerics": (
        lambda patch: patch.setattr("fusion_bench.comparing.today.numerics_digest", lambda config: "0" * 16),
        "the source of the harness",
    ),
    "torch": (lambda patch: patch.setattr("torch.__version__", "1.0.0"), "the version of torch"),
}


@pytest.mark.parametrize("what", TODAY)
def test_another_state_of_this_machine_is_refused(
    compared: Compared, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, expected = TODAY[what]
    patch(monkeypatch)
    with pytest.raises(NotPairableError, match=expected):
        compared.plan()


def test_another_kind_of_device_is_refused(compared: Compared) -> None:
    paths = replace(paths_of(compared.study, compared.runs), device="cuda")
    with pytest.raises(NotPairableError, match="cuda in the study new, cpu in base"):
        plan_against(compared.study, paths, compared.published, before_training=True)


def test_a_changed_reference_of_one_name_does_not_stop_the_report(compared: Compared) -> None:
    """The reference of the report stays the reference where the study has an arm of its name with other cells."""
    study = read_study(compared.study.path, ["arms.product.gain=0.5", "arms.mine.gain=0.75"])
    plan = compared.plan(study)
    assert "product" not in plan.taken
    run(plan.study, compared.runs)
    joined = beside_report(collect(plan.study, paths_of(study, compared.runs)), compared.runs, plan)
    assert joined.results.reference == "product (base)"
    assert {"product (new)", "mine"} <= joined.homes.keys()


def test_an_arm_whose_module_changed_is_trained_again(
    compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.comparing.against.module_digest", lambda target: "0" * 16)
    plan = compared.plan()
    assert plan.taken == ()
    assert [arm.label for arm in plan.study.arms] == ["product", "mine", "prior"]


def test_a_study_without_a_new_arm_is_told_to_compare(compared: Compared) -> None:
    base = read_study(compared.study.path.parent / "base.yaml")
    with pytest.raises(FusionBenchError, match="has every arm of the study base already"):
        compared.plan(base)


def test_cells_that_cannot_be_paired_after_all_leave_the_report_of_the_study(
    compared: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "fusion_bench.api.against.write_report",
        lambda results, folder: written.append(results.name) or folder / "report.md",
    )
    plan = compared.plan()
    own = collect(plan.study, paths_of(plan.study, compared.runs))
    other = replace(own, samples=own.samples.assign(cluster="one"), contexts={})
    with pytest.raises(NotPairableError, match="the cells are kept; the report of the study alone"):
        report_beside(other, compared.runs, plan, tmp_path / "report")
    assert written == ["new"]


def test_a_toy_run_is_refused(compared: Compared) -> None:
    request = RunRequest(compared.study.path, smoke=True, against=compared.published)
    with pytest.raises(FusionBenchError, match="leave out --against"):
        plan_against_report(request, compared.study, paths_of(compared.study, compared.runs), quiet())


@pytest.mark.parametrize(("worse", "missing", "code"), [(("mine",), 0, 3), ((), 0, 0), (("mine",), 1, 1)])
def test_a_run_ends_with_3_if_an_arm_is_worse(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, worse: tuple[str, ...], missing: int, code: int
) -> None:
    plan = compared.plan()
    own = collect(plan.study, paths_of(plan.study, compared.runs))
    counts = CellCounts(done=3, missing=missing)
    finished = FinishedRun(own, own, compared.published / "report.md", build_tables(own), counts, worse)
    monkeypatch.setattr("fusion_bench.cli.run.run_and_report", lambda request, console: finished)
    monkeypatch.setattr("fusion_bench.cli.run._show_in_mlflow", lambda *arguments: None)
    ended = 0
    try:
        run_and_say(RunRequest(compared.study.path), "worse")
    except typer.Exit as left:
        ended = left.exit_code
    assert ended == code


def test_the_arms_of_a_report_without_cells_are_taken_as_they_are(compared: Compared, tmp_path: Path) -> None:
    """Its sentences may have other words than today: the shared cells show that the settings are the same."""
    old = shutil.copytree(compared.published, tmp_path / "old")
    for cells in old.rglob(CELLS_FILE):
        cells.unlink()
    published = load(old)
    save(replace(published, setup=(("Training", "in other words"),), contexts={}), old)
    study = replace(compared.study, contexts={})
    plan = plan_against(study, paths_of(study, compared.runs), old, before_training=True)
    assert plan.taken == ("product", "prior")
    assert any("does not record the source of its modules" in note for note in plan.notes)
    joined = beside_report(collect(plan.study, paths_of(study, compared.runs)), compared.runs, plan)
    assert joined.homes["product"] == (published.name,)


def test_a_report_without_cells_and_without_an_arm_of_the_study_is_refused(
    compared: Compared, tmp_path: Path
) -> None:
    old = shutil.copytree(compared.published, tmp_path / "old")
    (old / CELLS_FILE).unlink()
    study = read_study(compared.study.path, ["head.hidden=9"])
    with pytest.raises(NotPairableError, match="its settings are not known; publish it anew"):
        plan_against(study, paths_of(study, compared.runs), old, before_training=True)
