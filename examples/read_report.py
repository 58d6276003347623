"""Read a published report in pandas: the arms, the verdicts, and the accuracy by number of hops.

    python examples/read_report.py                      # reports/quickstart
    python examples/read_report.py reports/line_up      # any other published report
    python examples/read_report.py runs/studies/gate    # a study that has run on this machine

The tables and their columns are listed in docs/how-to/publish_a_report.md and in ``help(fusion_bench.Report)``.
Numbers are shares: 0.01 is one point.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from fusion_bench import Report, load_report

QUICKSTART = Path(__file__).parents[1] / "reports" / "quickstart"


def ranked_arms(report: Report) -> pd.DataFrame:
    """One row per arm: its mean on the primary metric with its interval, and what it costs; the best first."""
    primary = (report.means["split"] == report.primary_split) & (report.means["metric"] == report.primary)
    costs = report.arms[["arm", "fusion_parameters", "latency_ms"]]
    table = report.means[primary].merge(costs, on="arm")
    columns = ["arm", "role", "estimate", "low", "high", "fusion_parameters", "latency_ms"]
    return table.sort_values("estimate", ascending=False)[columns]


def score_by_slice(report: Report, column: str) -> pd.DataFrame:
    """Mean score of every arm for every value of a slice column, over seeds and the samples of the primary split."""
    judged = report.samples[report.samples["split"] == report.primary_split]
    return judged.pivot_table(index="arm", columns=column, values="score", aggfunc="mean")


def main(folder: Path) -> None:
    """Print three tables of the report in ``folder``."""
    report = load_report(folder)
    print(f"{report.title}\n")
    print(ranked_arms(report).to_string(index=False))

    print(f"\nDifferences from {report.reference}")
    columns = ["arm", "estimate", "low", "high", "p_holm", "verdict"]
    print(report.comparisons[columns].to_string(index=False))

    if "hops" in report.samples:
        print(f"\n{report.primary_split} {report.primary} by number of hops")
        print(score_by_slice(report, "hops").to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else QUICKSTART)
