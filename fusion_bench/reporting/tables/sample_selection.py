"""The samples that a report shows, and the answer of each arm to them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fusion_bench.results.results import StudyResults

_RIGHT = 0.5


def shown_answers(results: StudyResults, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the answer of each arm to each shown sample.

    Text answers come from `majority_answers`; boxes and masks come from `first_seed_predictions`. The column
    ``display`` holds the text to print: the answer, or the overlap (IoU) of the prediction with the truth.

    Args:
        results: the study.
        samples: rows of `StudyResults.pictures`.
    """
    if results.shows == "text":
        majority = majority_answers(results, samples)
        return majority.assign(display=majority["answer"])
    return first_seed_predictions(results, samples)


def first_seed_predictions(results: StudyResults, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the prediction of the lowest seed of each arm: two boxes are hardly ever equal, so no majority exists.

    Returns:
        ``split, sample, arm, answer, votes, seeds, right, display``; ``votes`` counts the seeds that are right,
        which means a score above one half.
    """
    shown = _rows_of(results, samples)
    key = ["split", "sample", "arm"]
    predictions = shown.sort_values([*key, "seed"])
    predictions = predictions.assign(right=predictions["score"] > _RIGHT)
    groups = predictions.groupby(key, observed=True)["right"]
    predictions = predictions.assign(votes=groups.transform("sum"), seeds=groups.transform("size"))
    first = predictions.drop_duplicates(key).rename(columns={"prediction": "answer"})
    first["display"] = [f"IoU {100 * overlap:.0f} %" for overlap in first["iou"]]
    return first[[*key, "answer", "votes", "seeds", "right", "display"]].reset_index(drop=True)


def majority_answers(results: StudyResults, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the most frequent answer of each arm, over its seeds, to each shown sample.

    Args:
        results: the study.
        samples: rows of `StudyResults.pictures`.

    Returns:
        ``split, sample, arm, answer, votes, seeds, right``; a tie goes to the answer of the lowest seed.
    """
    answers = _rows_of(results, samples)[["split", "sample", "arm", "seed", "prediction", "truth"]]
    key = ["split", "sample", "arm"]
    votes = (
        answers.groupby([*key, "prediction"], observed=True)
        .agg(votes=("seed", "size"), lowest=("seed", "min"), truth=("truth", "first"))
        .reset_index()
        .sort_values([*key, "votes", "lowest"], ascending=[True, True, True, False, True])
    )
    votes["seeds"] = votes.groupby(key, observed=True)["votes"].transform("sum")
    winner = votes.drop_duplicates(key).rename(columns={"prediction": "answer"})
    winner["right"] = winner["answer"] == winner["truth"]
    return winner[[*key, "answer", "votes", "seeds", "right"]].reset_index(drop=True)


def select_samples(results: StudyResults) -> pd.DataFrame:
    """Return the rows of `StudyResults.pictures` on which the arms (not the controls) disagree.

    One sample per image. The order is: samples that split the arms most evenly into right and wrong, then those
    with the most different answers, then the given order. Samples that all arms answer alike are kept only if all
    samples are of that kind. A sample whose image file is missing is left out. Applying the function to its own
    result changes nothing, so a published report shows the same samples.
    """
    exists = results.pictures["image"].map(lambda image: Path(image).is_file()).astype(bool)
    samples = results.pictures[exists]
    arms = [arm.label for arm in results.arms if arm.role != "control"]
    answers = shown_answers(results, samples)
    answers = answers[answers["arm"].isin(arms)]
    counts = answers.groupby(["split", "sample"], observed=True).agg(
        right=("right", "sum"), arms=("right", "size"), different=("answer", "nunique")
    )
    counts["balance"] = counts[["right"]].assign(wrong=counts["arms"] - counts["right"]).min(axis=1)
    counted = samples.merge(counts.reset_index(), on=["split", "sample"], how="inner", sort=False)
    # Two boxes or masks are hardly ever equal, so arms disagree about one where only some of them are right.
    apart = counted["different"] > 1 if results.shows == "text" else counted["balance"] > 0
    disagreed = counted[apart]
    kept = disagreed if len(disagreed) else counted
    kept = kept.sort_values(["balance", "different"], ascending=False, kind="stable")
    kept = kept.drop_duplicates("image")
    return kept[list(results.pictures.columns)].reset_index(drop=True)


def _rows_of(results: StudyResults, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``results.samples`` (all arms and seeds) that belong to ``samples``."""
    wanted = pd.MultiIndex.from_frame(samples[["split", "sample"]])
    return results.samples[pd.MultiIndex.from_frame(results.samples[["split", "sample"]]).isin(wanted)]
