"""Run a study from Python, at a size that ends in about a minute on two CPU cores.

    python examples/run_study.py                        # keeps its cells in the folder runs/
    python examples/run_study.py /tmp/runs              # or in another one

A second call trains nothing: every cell is done. Remove the overrides to run the study as it is written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fusion_bench import load_study, run_study

STUDY = Path(__file__).with_name("gate_study.yaml")
SMALLER = [
    "name=gate_small",  # results of different sizes belong to different studies
    "data.images={train: 120, select: 40, evaluate: 40}",
    "backbone.weights=random",  # trained here, to show how
    "backbone.frozen=false",  # random weights have to be trained
    "train.epochs=1",
    "seeds=[0, 1]",
]


def main(runs: Path) -> None:
    """Run the small study and print what came of it."""
    study = load_study(STUDY, SMALLER)
    print(f"{study.name}: {len(study.arms)} arms with {len(study.seeds)} seeds each")

    report = run_study(STUDY, overrides=SMALLER, runs=runs)
    print(report.comparisons[["arm", "role", "estimate", "low", "high", "verdict"]].to_string(index=False))
    print(f"The whole report: {report.folder / 'report.md'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs"))
