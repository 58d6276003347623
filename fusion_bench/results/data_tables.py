"""Tables about the data: the samples that a report shows, and the constant baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fusion_bench.results.results import FLOOR_SCORES, no_floor_scores
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.spec.arms import Arm
from fusion_bench.tasks.task import Task


def select_pictures(samples: pd.DataFrame, split: Split, arms: Sequence[Arm], wanted: int) -> pd.DataFrame:
    """Return the samples on which the arms disagree most: about half of the trained models are right.

    There is one sample per cluster, so that no image and no sentence is shown twice. Ties keep the order of the
    table, so that the choice is reproducible.
    """
    ranked = {arm.label for arm in arms if arm.role != "control"}
    evaluated = samples[(samples["split"] == split.name) & samples["arm"].isin(ranked)]
    right = evaluated.groupby("sample", sort=False)["score"].mean()
    rows = split.table.assign(undecided=(split.table["sample"].map(right) - 0.5).abs())
    rows = rows.sort_values("undecided", kind="stable").drop_duplicates("cluster").head(wanted)
    pictures = pd.DataFrame(
        {
            "sample": rows["sample"],
            "split": split.name,
            "image": [str(split.images[number]) for number in rows["image"]],
            "text": rows["text"],
            "truth": rows["truth"],
        }
    )
    if split.referents is not None:
        pictures[["height", "width"]] = split.referents.sizes[rows["image"].to_numpy()]
    return pictures.reset_index(drop=True)


def floor_tables(
    data: DataSet, splits: Mapping[str, Split], task: type[Task]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the baselines without training, and their scores.

    Returns:
        One row per split that has a baseline: ``name, split, accuracy, description``; and one row per sample of such
        a split: ``name, split, sample, score``.
    """
    rows, scores = [], []
    for name in (data.splits.select, *data.splits.evaluate) if splits else ():
        floor = task.floor(data, splits[data.splits.train], splits[name])
        if floor is not None:
            rows.append(
                {
                    "name": floor.name,
                    "split": name,
                    "accuracy": floor.accuracy,
                    "description": floor.description,
                }
            )
            scores.append(
                pd.DataFrame(
                    {"sample": splits[name].table["sample"].to_numpy(), "score": floor.scores}
                ).assign(name=floor.name, split=name)
            )
    described = pd.DataFrame(rows, columns=["name", "split", "accuracy", "description"])
    return described, pd.concat(scores, ignore_index=True)[FLOOR_SCORES] if scores else no_floor_scores()
