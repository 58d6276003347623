"""Reads reports as blocks: the mean of each ranked arm on the primary metric, and what tells blocks apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.find import published_folder
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.tables.compared_seeds import compared_seeds, only_compared
from fusion_bench.reporting.tables.factors import written_settings
from fusion_bench.reporting.tables.tables import primary_comparison
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import means
from fusion_bench.statistics.factorial.design import SettingLevels


@dataclass(frozen=True)
class ReportBlock:
    """One study or context as a block.

    Attributes:
        label: its name; ``study (context)`` for a context.
        metric: the split and name of its primary metric.
        sign: -1 for a metric that should fall, else 1.
        reference: its reference.
        means: the mean of each ranked arm that has a result, as its report shows it.
        components: the module or network of each arm.
        settings: the settings that the study writes for each arm.
        data: the digest of its data; empty if it is not known.
    """

    label: str
    metric: str
    sign: int
    reference: str
    means: Mapping[str, float]
    components: Mapping[str, str]
    settings: Mapping[str, SettingLevels]
    data: str


def read_blocks(folders: Sequence[Path]) -> list[ReportBlock]:
    """Return the block of each report; of a single report, also those of its contexts.

    Several reports give one block each, because the contexts of a study have its data: to count a context, its own
    folder (``reports/NAME/contexts/LABEL``) is named.

    Raises:
        FusionBenchError: a folder holds no report, two reports are one, or two blocks have one name.
    """
    found = [load(published_folder(folder)) for folder in folders]
    blocks = [_block(results, results.name) for results in found]
    if len(found) == 1:
        blocks += [
            _block(context, f"{found[0].name} ({label})") for label, context in found[0].contexts.items()
        ]
    labels = [block.label for block in blocks]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise FusionBenchError(f"two of the reports are of one study, {twice!r}; name each study once")
    return blocks


def _block(results: StudyResults, label: str) -> ReportBlock:
    influences, question = primary_comparison(results)
    table = means(only_compared(influences, compared_seeds(influences, question, results.stages)))
    ranked = {arm.label: arm for arm in results.arms if arm.role != "control" and not arm.unranked}
    own = dict(zip(table["arm"], table["estimate"].tolist(), strict=True))
    return ReportBlock(
        label,
        f"{results.primary_split} {results.primary}",
        -1 if results.primary in results.lower_is_better else 1,
        results.reference,
        {arm: own[arm] for arm in ranked if arm in own},
        {arm: summary.component for arm, summary in ranked.items()},
        {arm: written_settings(summary) for arm, summary in ranked.items()},
        results.environment.get("data manifest", ""),
    )
