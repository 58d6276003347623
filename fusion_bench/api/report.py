"""A report as pandas tables: what `load_report` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.spec.contexts import report_folder

_MEASURED = ("estimate", "low", "high", "standard_error", "degrees", "seeds", "clusters", "samples")


@dataclass(frozen=True, eq=False)
class Report:
    """A study's report: tidy tables with the numbers of its ``report.md``.

    Values are in the units of the data: an accuracy is a share, so that 0.01 is one point. An interval
    (``low`` to ``high``) is a 95 % interval over new seeds and new clusters (images); it is NaN for a metric that is
    no mean over samples or clusters.

    Attributes:
        name: the study's name.
        title: one line about the study.
        folder: where ``report.md`` and its figures lie.
        reference: label of the arm that the others are compared with.
        primary: the metric of every verdict.
        primary_split: the split of every verdict.
        arms: one row per arm, in the study's order.

            - ``arm``: its label; ``role``: ``reference``, ``arm`` or ``control``.
            - ``component``: the module, network or file; ``settings``: a dict of those that differ from the study's
              base (``pd.json_normalize(report.arms["settings"])`` gives each a column).
            - ``citation``; ``listens``: what it reads of the language; ``position_code``: the one it adds itself.
            - ``fusion_parameters``, ``fusion_multiply_adds`` (of one sample): of its modules and adapters.
            - ``around_parameters``, ``around_multiply_adds``: of backbone (if trained), text encoder and head.
            - ``latency_ms``: median milliseconds of one forward pass of one batch.
            - ``budget_distance``: its cost over the matched budget, less 1; ``unranked``: why it gets no verdict, or
              empty.
            - ``searched``: a dict of what a search chose; ``search_trials``: out of how many trials.
        means: one row per split, metric and arm.

            - ``split``, ``metric``, ``arm``, ``role``.
            - ``estimate``: mean over the seeds of the arm's comparison with the reference; ``low``, ``high``: its
              interval; ``standard_error``; ``degrees``: degrees of freedom.
            - ``seeds``, ``clusters``, ``samples``: how many of each.
        per_seed: one row per split, metric, arm and seed: ``split``, ``metric``, ``arm``, ``role``, ``seed``,
            ``value``.
        comparisons: one row per arm other than the reference, on the primary metric and split.

            - ``split``, ``metric``, ``arm``, ``role``, ``reference``.
            - ``estimate``: mean difference, arm less reference; ``low`` to ``samples`` as in ``means``.
            - ``p``: of no difference; ``p_holm``: corrected for the family (Holm), NaN where there is no verdict.
            - ``p_margin``, ``p_margin_holm``: of a difference outside the margin; NaN where the study states none.
            - ``reference_seeds``: how many seeds of the reference the difference uses.
            - ``detectable``: one number for the family: the true difference that a comparison of this study finds
              four times in five.
            - ``look``: in a study with looks, the number of the look that the row is of, from 1; 0 for a row of none.
            - ``level``: that of the interval; 0.95, or 1 less what the look spends.
            - ``verdict``: ``better``, ``worse``, ``equivalent``, ``underpowered`` or ``no verdict``; empty for a
              control and for an arm that is not ranked.
        cells: one row per planned cell: ``arm``, ``role``, ``seed``, ``cell`` (its id), ``state`` (``done``,
            ``failed``, ``stale`` or ``missing``), ``reason``, ``epochs``, ``best_epoch``, ``seconds``.
        samples: one row per finished cell, split and evaluated sample: ``arm``, ``seed``, ``split``, ``sample``,
            ``cluster``, ``prediction``, ``truth``, ``score``; then one column per slice of the data set (such as
            ``kind``); then one per number that the task adds (such as ``iou``). Boxes and masks are text. Texts are
            pandas categories, stored once each; ``truth`` and ``prediction`` have the same ones.
        curves: one row per finished cell, epoch and quantity: ``arm``, ``seed``, ``epoch``, ``samples_seen``,
            ``quantity`` (``train/loss`` or ``select/METRIC``), ``value``.
        looks: one row per planned look; none in a study whose arms all have the same seeds.

            - ``look``, ``seeds``, ``alpha``: its number, its seeds, and the part of the 5 % that it spends.
            - ``state``: ``taken``, ``next``, ``later`` or ``not needed``.
            - ``open_before``, ``open_after``, ``left_out``: tuples of labels.
            - ``better``, ``worse``, ``equivalent``: how many arms it found so.
            - ``prior_degrees``, ``prior_variance``: of its seed variances.
        look_comparisons: one row per look that was taken and arm that it compared, with ``look`` and the columns of
            ``comparisons`` from ``estimate`` to ``verdict``; the interval has the level of the look.
        contexts: folder of each context's report, by the context's label; `load_report` reads it.
    """

    name: str
    title: str
    folder: Path
    reference: str
    primary: str
    primary_split: str
    arms: pd.DataFrame = field(repr=False)
    means: pd.DataFrame = field(repr=False)
    per_seed: pd.DataFrame = field(repr=False)
    comparisons: pd.DataFrame = field(repr=False)
    cells: pd.DataFrame = field(repr=False)
    samples: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    looks: pd.DataFrame = field(repr=False)
    look_comparisons: pd.DataFrame = field(repr=False)
    contexts: Mapping[str, Path] = field(repr=False)


def load_report(folder: str | Path) -> Report:
    """Read the report of a study as pandas tables.

    Args:
        folder: a published report (``reports/NAME``), or the folder of a study that has run (``runs/studies/NAME``).

    Returns:
        The report. Its numbers are those of ``report.md``: the same code makes both, from the same files.

    Raises:
        FusionBenchError: the folder is neither of the two, has no report yet, or one of its files is damaged.
    """
    found = _published_folder(Path(folder).expanduser())
    results = load(found)
    return _report(results, build_tables(results), found)


def _published_folder(folder: Path) -> Path:
    """The folder that holds ``study.json``: the one given, or ``report`` inside a study's folder."""
    for candidate in (folder, folder / "report"):
        if (candidate / "study.json").is_file():
            return candidate
    if not folder.exists():
        raise FusionBenchError(f"{folder} does not exist; {_WRITE}")
    if not folder.is_dir():
        raise FusionBenchError(f"{folder} is not a folder; {_WRITE}")
    if (folder / "plan.json").is_file():
        raise FusionBenchError(f"{folder} has no report yet; write it with: fusion-bench report {folder}")
    raise FusionBenchError(f"{folder} holds no report (it has no study.json); {_WRITE}")


_WRITE = (
    "name the folder of a published report, such as reports/quickstart, or of a study that has run, such as "
    "runs/studies/quickstart"
)


def _report(results: StudyResults, tables: Tables, folder: Path) -> Report:
    verdicts = (
        "reference_seeds",
        "p",
        "p_holm",
        "p_margin",
        "p_margin_holm",
        "detectable",
        "verdict",
        "look",
        "level",
    )
    compared = tables.comparisons.assign(
        split=results.primary_split, metric=results.primary, reference=results.reference
    )
    sample = ("arm", "seed", "split", "sample", "cluster", "prediction", "truth", "score")
    return Report(
        name=results.name,
        title=results.title,
        folder=folder,
        reference=results.reference,
        primary=results.primary,
        primary_split=results.primary_split,
        arms=_arms_table(results.arms),
        means=_ordered(tables.means, "split", "metric", "arm", "role", *_MEASURED),
        per_seed=tables.per_seed,
        comparisons=_ordered(compared, "split", "metric", "arm", "role", "reference", *_MEASURED, *verdicts),
        cells=results.cells,
        samples=_ordered(results.samples, *sample, *results.slices, *results.measures),
        curves=results.curves,
        looks=tables.looks,
        look_comparisons=_ordered(tables.look_comparisons, "look", "arm", *_MEASURED, *verdicts[:-2]),
        contexts={label: folder / report_folder(label) for label in results.contexts},
    )


def _ordered(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table[list(columns)].reset_index(drop=True)


def _arms_table(arms: Sequence[ArmSummary]) -> pd.DataFrame:
    """One row per arm; the columns are the fields of `ArmSummary`, with ``arm`` and ``settings`` renamed."""
    rows = [{**vars(arm), "factors": dict(arm.factors), "searched": dict(arm.searched)} for arm in arms]
    table = pd.DataFrame(rows).rename(columns={"label": "arm", "factors": "settings"})
    counts = ("fusion_parameters", "fusion_multiply_adds", "around_parameters", "around_multiply_adds")
    # Numbers also where every arm lacks one, so that arithmetic on the column works.
    numeric = dict.fromkeys(counts, "Int64") | dict.fromkeys(("latency_ms", "budget_distance"), "float64")
    return _ordered(
        table.astype(numeric),
        *("arm", "role", "component", "settings", "citation", "listens", "position_code", *counts),
        *("latency_ms", "budget_distance", "unranked", "searched", "search_trials"),
    )
