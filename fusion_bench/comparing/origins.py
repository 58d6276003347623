"""The sources of a report's numbers, as far as two reports must agree in them before their arms are paired.

A report that was published with its cells (``cells.parquet``), or that lies beside them in a runs folder, says it
exactly: the settings and the provenance of each cell. One of an earlier version says it by the sentences and the
environment of its ``study.json``, and by the ids of its cells: an id that two reports share is the same settings.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.result import Provenance
from fusion_bench.comparing.surroundings import ArmSettings
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.find import published_folder
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.published.published_cells import CELLS_FILE
from fusion_bench.reporting.published.published_study import inside
from fusion_bench.reporting.published.published_tables import read_parquet
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.serialisation import from_json
from fusion_bench.spec.contexts import report_folder
from fusion_bench.training.config import CellConfig

_MANIFEST_DIGITS = 16  # that the environment of a report shows
_FROM_ENVIRONMENT = {
    "data": "data manifest",
    "numerics": "numerics source",
    "torch": "torch",
    "timm": "timm",
    "numpy": "numpy",
    "python": "python",
    "platform": "platform",
    "device": "device",
}

DATA, SEEDS, METRIC = "the data (digest of its manifest)", "the seeds", "the primary metric"
REFERENCE_SEEDS = "the seeds of the reference"
"""Known where the reference has more seeds than the other arms."""
NUMERICS, DEVICE_KIND = "the source of the harness that decides numbers", "the kind of device"
WEIGHTS, SEARCHED = "the weights of the backbone", "what a search chose for each arm"
BUDGET = "the budget that arms are matched to"


@dataclass(frozen=True)
class Origin:
    """The sources of a study's numbers.

    Attributes:
        name: how sentences name the study.
        kept: what must be equal, by name: the values, as texts; none where it is not known.
        arms: the settings of each arm (not control), by its label; empty where they are not known.
        sentences: the setup of a report, by heading; empty for a study that is not trained yet.
        plain_cells: the ids of the cells whose arm differs from others in its module and in what a search chose, and
            in nothing else, so that two studies that share one have the same surroundings.
        noted: what may differ, by name.
    """

    name: str
    kept: Mapping[str, frozenset[str]]
    arms: Mapping[str, ArmSettings]
    sentences: Mapping[str, str] = field(default_factory=dict)
    plain_cells: frozenset[str] = frozenset()
    noted: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CellOrigin:
    """The settings of a finished cell and where its numbers come from."""

    config: CellConfig
    provenance: Provenance


@dataclass(frozen=True, eq=False)
class OpenedReport:
    """A report that was read.

    Attributes:
        name: how sentences and labels name it.
        folder: where its files lie.
        results: what it shows.
        cells: the origin of each of its cells, by id; none for a report of an earlier version.
        asked: the ids of further cells of the same surroundings (`Origin.plain_cells`), which its study asks for.
    """

    name: str
    folder: Path
    results: StudyResults
    cells: Mapping[str, CellOrigin]
    asked: frozenset[str] = frozenset()

    @property
    def origin(self) -> Origin:
        """The sources of its numbers."""
        found = origin_of_results(self.results, self.cells, self.name)
        return replace(found, plain_cells=found.plain_cells | self.asked)


def open_report(folder: Path, name: str = "") -> OpenedReport:
    """Read a report: a published one, or that of a study that has run (``runs/studies/NAME``).

    Args:
        folder: its folder.
        name: how it is named; by default by its study.

    Raises:
        FusionBenchError: the folder holds no report, or one of its files is damaged.
    """
    found = published_folder(folder.expanduser())
    results = load(found)
    return OpenedReport(name or results.name, found, results, _cells_beside(found, results))


def context_of(report: OpenedReport, label: str) -> OpenedReport:
    """Return the report of a context of a report."""
    results = report.results.contexts[label]
    folder = report.folder / report_folder(label)
    return OpenedReport(f"{report.name}, {label}", folder, results, _cells_beside(folder, results))


def _cells_beside(folder: Path, results: StudyResults) -> dict[str, CellOrigin]:
    published = _published_cells(folder) if inside(folder, CELLS_FILE).is_file() else {}
    runs = runs_around(folder)
    if runs is None:
        return published
    return published | cells_in(runs, (cell for cell in _finished(results) if cell not in published))


def runs_around(folder: Path) -> Path | None:
    """Return the runs folder that a report lies in: ``RUNS/studies/NAME/report``, with its contexts below it."""
    for parent in folder.resolve().parents:
        if parent.name == "studies" and (parent.parent / "cells").is_dir():
            return parent.parent
    return None


def cells_in(runs: Path, cells: Iterable[str]) -> dict[str, CellOrigin]:
    """Return the origin of the cells of a runs folder that are done there."""
    found = {}
    for cell in cells:
        origin = cell_folder(runs, cell).if_done(_read_origin)
        if origin is not None:
            found[cell] = origin
    return found


def _read_origin(folder: CellFolder) -> CellOrigin:
    return CellOrigin(folder.config(), folder.provenance())


def _published_cells(folder: Path) -> dict[str, CellOrigin]:
    table = read_parquet(folder, CELLS_FILE)
    columns = ("cell", "config.json", "provenance.json")
    if lacking := [name for name in columns if name not in table.column_names]:
        raise FusionBenchError(f"{folder / CELLS_FILE} lacks the columns {', '.join(lacking)}")
    found = {}
    for row in table.select(columns).to_pylist():
        cell, where = str(row["cell"]), f"{folder / CELLS_FILE}, cell {str(row['cell'])[:80]}"
        try:
            config = CellConfig.from_json(json.loads(row["config.json"]))
            provenance = from_json(Provenance, json.loads(row["provenance.json"]), "provenance.json")
        except (FusionBenchError, ValueError, TypeError) as error:
            raise FusionBenchError(f"{where}: {error}") from error
        if config.id != cell:
            raise FusionBenchError(f"{where}: its settings are those of the cell {config.id}")
        found[cell] = CellOrigin(config, provenance)
    return found


def _finished(results: StudyResults) -> list[str]:
    return [str(cell) for cell in results.cells.loc[results.cells["state"] == "done", "cell"]]


def origin_of_results(results: StudyResults, cells: Mapping[str, CellOrigin], name: str) -> Origin:
    """Return what the numbers of a study were made from.

    Args:
        results: the study.
        cells: the origin of each of its finished cells, by id; if one is missing, the sentences count.
        name: how sentences name the study.
    """
    ids = _finished(results)
    ranked = [arm for arm in results.arms if arm.role != "control"]
    kept = {
        METRIC: frozenset({f"{results.primary_split} {results.primary}"}),
        **_seeds(results, ranked),
        BUDGET: frozenset({_budget(results)}),
        SEARCHED: frozenset({searched_text(key for arm in ranked for key in arm.searched)}),
    }
    # The seeds of the sentence on pairing are compared as numbers.
    sentences = {heading: text for heading, text in results.setup if heading != "Pairing"}
    plain = frozenset(_plain_cells(results))
    if not ids or any(cell not in cells for cell in ids):
        environment = results.environment
        read = {name: environment.get(key, "") for name, key in _FROM_ENVIRONMENT.items()}
        kept |= known_values(
            {DATA: [read["data"]], NUMERICS: [read["numerics"]], WEIGHTS: [], DEVICE_KIND: []}
        )
        noted = {key: frozenset({read[key]}) for key in noted_names()}
        return Origin(name, kept, {}, sentences, plain, noted)
    origins = [cells[cell].provenance for cell in ids]
    arms = _arm_settings(results, ranked, cells)
    kept |= known_values(
        {
            DATA: [item.data for item in origins],
            NUMERICS: _numerics(results, cells, arms),
            WEIGHTS: [item.weights_file for item in origins],
            DEVICE_KIND: [item.device_kind for item in origins],
        }
    )
    noted = {key: frozenset(str(getattr(item, key)) for item in origins) for key in noted_names()}
    return Origin(name, kept, arms, sentences, plain, noted)


def _seeds(results: StudyResults, ranked: Sequence[ArmSummary]) -> dict[str, frozenset[str]]:
    """Return the planned seeds of the arms, and those of the reference where it has more."""
    others = [arm.label for arm in ranked if arm.label != results.reference] or [results.reference]
    by_arm = (
        results.cells.loc[results.cells["arm"].isin(arms), "seed"].unique()
        for arms in (others, [results.reference])
    )
    own, of_reference = (seeds_text(int(seed) for seed in seeds) for seeds in by_arm)
    return {
        SEEDS: frozenset({own}),
        REFERENCE_SEEDS: frozenset({of_reference} - {own}),
    }


def _plain_cells(results: StudyResults) -> list[str]:
    plain = {arm.label for arm in results.arms if is_plain(arm.factors, arm.searched)}
    done = results.cells[(results.cells["state"] == "done") & results.cells["arm"].isin(plain)]
    return [str(cell) for cell in done["cell"]]


def is_plain(factors: Iterable[str], searched: Collection[str]) -> bool:
    """Return True for an arm that differs from others in its module and in what a search chose alone."""
    return all("." not in key or key in searched for key in factors)


def noted_names() -> tuple[str, ...]:
    """Return the entries of a provenance of which a difference is noted: versions and machine."""
    return ("torch", "timm", "numpy", "python", "platform", "device")


def known_values(values: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """Return the known values; of the digest of data, the digits that every report shows."""
    return {
        name: frozenset(text[:_MANIFEST_DIGITS] if name == DATA else text for text in texts if text)
        for name, texts in values.items()
    }


def _arm_settings(
    results: StudyResults, ranked: Sequence[ArmSummary], cells: Mapping[str, CellOrigin]
) -> dict[str, ArmSettings]:
    done = results.cells[results.cells["state"] == "done"].drop_duplicates("arm").set_index("arm")["cell"]
    return {
        arm.label: ArmSettings(cells[str(done[arm.label])].config, frozenset(arm.factors))
        for arm in ranked
        if arm.label in done.index
    }


def _numerics(
    results: StudyResults, cells: Mapping[str, CellOrigin], arms: Mapping[str, ArmSettings]
) -> list[str]:
    """Return the digests of the harness's source, of the arms that do not differ in their text encoder."""
    done = results.cells[results.cells["state"] == "done"]
    digests = {
        (str(arm), cells[str(cell)].provenance.numerics)
        for arm, cell in zip(done["arm"], done["cell"], strict=True)
        if arm in arms
    }
    same = [found for arm, found in digests if "text.encoder" not in arms[arm].factors]
    return same or [found for _, found in digests]


def seeds_text(seeds: Iterable[int]) -> str:
    """Return seeds in rising order: ``0, 1, 2``."""
    return ", ".join(map(str, sorted(seeds)))


def searched_text(keys: Iterable[str]) -> str:
    """Return the settings outside the arm that a search chose: ``train.learning_rate``; ``nothing`` without one."""
    return ", ".join(sorted({key for key in keys if "." in key})) or "nothing"


def budget_text(unit: str, target: int, tolerance: float) -> str:
    """Return a budget: ``54,920 parameters within 5 %``."""
    return f"{target:,} {unit} within {100 * tolerance:.3g} %"


def _budget(results: StudyResults) -> str:
    if not results.budget:
        return NO_BUDGET
    for arm in results.arms:
        cost = arm.fusion_parameters if results.budget == "parameters" else arm.fusion_multiply_adds
        if cost is not None and arm.budget_distance is not None and arm.role != "control":
            return budget_text(
                results.budget, round(cost / (1 + arm.budget_distance)), results.tolerance or 0.0
            )
    return f"{results.budget}, of an unknown size"


NO_BUDGET = "none"
"""The budget of a study that matches none."""
