"""Contexts train the same arms with other study keys: how they are read, run and reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import StudyFileError
from fusion_bench.reporting.report.report import rebuild, write_report
from fusion_bench.results.collect import collect
from fusion_bench.spec.contexts import slug
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.study.searching.search_results import search_result, with_choices
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file

BASE = STUDY.partition("arms:")[0]
ARMS = """
arms:
  product: {module: "toys:Product"}
  gentle: {module: "toys:Product", gain: 0.5}
seeds: 2
search:
  trials: 2
  declared: false
  space: {train.learning_rate: [1e-2, 3e-2]}
contexts:
  mean pooling: {head.pool: mean}
  wide: {fusion.width: 12, head.width: 12}
"""


def wrong(folder: Path, contexts: str) -> str:
    text = BASE + "arms:\n  product: {module: 'toys:Product'}\nseeds: 1\ncontexts:\n" + contexts
    with pytest.raises(StudyFileError) as caught:
        read_study(study_file(folder, text))
    return str(caught.value)


def test_a_context_is_the_study_with_other_keys_and_its_own_name(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, BASE + ARMS))
    assert list(study.contexts) == ["mean pooling", "wide"]
    pooled, wide = study.contexts.values()
    assert pooled.name == f"{study.name}--mean_pooling"
    assert {arm.config.head.pool for arm in pooled.arms} == {"mean"}
    assert {arm.config.fusion.width for arm in wide.arms} == {12}
    assert [arm.label for arm in wide.arms] == [arm.label for arm in study.arms]
    assert pooled.search is None and not pooled.contexts
    assert {arm.config.head.pool for arm in study.arms} == {"max_mean"}


def test_labels_of_any_length_and_script_name_different_folders() -> None:
    labels = (
        "mean pooling",
        "...",
        "\u5377\u79ef" * 40,
        "\u5377\u79ef" * 41,
        "head.pool=max, " * 20,
        "head.pool=max, " * 21,
    )
    slugs = [slug(label) for label in labels]
    assert slugs[0] == "mean_pooling"
    assert len(set(slugs)) == len(labels)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name) for name in slugs)


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        ("  x: {head.pol: mean}\n", "head.pol: unknown key (did you mean 'pool'?)"),
        ("  x: {head.pool: most}\n", "contexts.x.head.pool: must be"),
        ("  x: {arms.product: 1}\n", "'arms' cannot vary"),
        ("  x: {pool: mean}\n", "must be a key of a section, for example head.pool"),
        ("  x: {}\n", "changes nothing"),
        ("  a b: {head.pool: mean}\n  a_b: {head.pool: max}\n", "names a folder"),
    ],
)
def test_mistakes_in_a_context_cite_their_line(tmp_path: Path, contexts: str, message: str) -> None:
    error = wrong(tmp_path, contexts)
    assert message in error
    assert "line " in error


def run(study: Study, paths: RunPaths) -> int:
    return (
        StudyRun(
            study,
            paths,
            lambda: InlineExecutor(WorkerSettings(paths, 0, threads=1)),
            SilentObserver(),
            RunOptions(),
        )
        .run()
        .trained
    )


def test_contexts_keep_the_settings_of_the_search_and_the_report_shows_their_ranking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
    study = read_study(study_file(tmp_path, BASE + ARMS))
    paths = RunPaths(tmp_path / "runs", {}, {})
    run(study, paths)
    search = search_result(study, paths)
    rates = {arm.label: arm.config.train.learning_rate for arm in search.arms}
    assert collect(study, paths).contexts == {}, "a context without a finished cell is left out"
    for context in study.contexts.values():
        fixed = with_choices(context, search)
        assert {arm.label: arm.config.train.learning_rate for arm in fixed.arms} == rates
        assert run(fixed, paths) == 2 * len(study.arms), "no cell searches"
        assert run(fixed, paths) == 0
    report = write_report(collect(study, paths), tmp_path / "report")
    text = report.read_text()
    section = text.partition("## Does the ranking hold?")[2].partition("\n## ")[0]
    assert "[mean pooling](contexts/mean_pooling/report.md)" in section
    assert "| `product`" in section and "| `gentle`" in section
    assert "**Does the ranking hold?** Kendall's tau of the ranking with that under mean pooling" in text
    assert "question_only" not in section, "controls are not ranked"
    assert (tmp_path / "report" / "contexts" / "wide" / "report.md").exists()
    rebuild(tmp_path / "report")
    assert report.read_text() == text
    wide = with_choices(study.contexts["wide"], search)
    for cell in confirm_cells(wide.arms, wide.seeds):
        file = cell_folder(paths.runs, cell.id).path / "provenance.json"
        write_json(file, {**read_json(file), "module": "of another day"})
    results = collect(study, paths)
    assert set(results.contexts) == {"mean pooling"}
    (caution,) = (text for text in results.cautions if "context" in text)
    assert "'wide' is left out" in caution and "the module's source changed" in caution
