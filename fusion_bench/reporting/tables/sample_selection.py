"""Which samples are worth showing, and what each arm answered or found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fusion_bench.results.results import StudyResults

_RIGHT = 0.5


def shown_answers(results: StudyResults, pictures: pd.DataFrame) -> pd.DataFrame:
    """What stands beside each picture: `majority_answers`, or where boxes or masks are shown `first_finds`.

    The column ``said`` is what is written: the answer, or how much of what was found overlaps the truth.
    """
    if results.shows == "text":
        majority = majority_answers(results, pictures)
        return majority.assign(said=majority["answer"])
    return first_finds(results, pictures)


def first_finds(results: StudyResults, pictures: pd.DataFrame) -> pd.DataFrame:
    """What each arm's lowest seed found: two boxes are hardly ever equal, so there is no majority.

    Returns:
        ``split, sample, arm, answer, votes, seeds, right, said``; ``votes`` counts the seeds that are right, which
        is a score of more than a half.
    """
    wanted = pd.MultiIndex.from_frame(pictures[["split", "sample"]])
    asked = pd.MultiIndex.from_frame(results.samples[["split", "sample"]]).isin(wanted)
    key = ["split", "sample", "arm"]
    found = results.samples[asked].sort_values([*key, "seed"])
    found = found.assign(right=found["score"] > _RIGHT)
    groups = found.groupby(key, observed=True)["right"]
    found = found.assign(votes=groups.transform("sum"), seeds=groups.transform("size"))
    first = found.drop_duplicates(key).rename(columns={"prediction": "answer"})
    first["said"] = [f"IoU {100 * overlap:.0f} %" for overlap in first["iou"]]
    return first[[*key, "answer", "votes", "seeds", "right", "said"]].reset_index(drop=True)


def majority_answers(results: StudyResults, pictures: pd.DataFrame) -> pd.DataFrame:
    """Each arm's answer to each picture's question: the most frequent over its seeds.

    Args:
        results: the study.
        pictures: rows of `StudyResults.pictures`.

    Returns:
        ``split, sample, arm, answer, votes, seeds, right``, a tie going to the answer of the lowest seed.
    """
    wanted = pd.MultiIndex.from_frame(pictures[["split", "sample"]])
    asked = pd.MultiIndex.from_frame(results.samples[["split", "sample"]]).isin(wanted)
    answers = results.samples.loc[asked, ["split", "sample", "arm", "seed", "prediction", "truth"]]
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


def choose_pictures(results: StudyResults) -> pd.DataFrame:
    """The pictures on which the arms (not the controls) disagree.

    One question a picture; first those that split the arms most evenly into right and wrong, then those with
    the most different answers, then in the given order. A question that all arms answer alike is shown only
    where all questions are of that kind; a picture whose file is no longer there never is. Choosing again among
    the chosen changes nothing, so a published report shows the same ones.
    """
    there = results.pictures["image"].map(lambda image: Path(image).is_file()).astype(bool)
    pictures = results.pictures[there]
    arms = [arm.label for arm in results.arms if arm.role != "control"]
    answers = shown_answers(results, pictures)
    answers = answers[answers["arm"].isin(arms)]
    split = answers.groupby(["split", "sample"], observed=True).agg(
        right=("right", "sum"), arms=("right", "size"), different=("answer", "nunique")
    )
    split["balance"] = split[["right"]].assign(wrong=split["arms"] - split["right"]).min(axis=1)
    judged = pictures.merge(split.reset_index(), on=["split", "sample"], how="inner", sort=False)
    apart = judged[judged["different"] > 1]
    judged = apart if len(apart) else judged
    judged = judged.sort_values(["balance", "different"], ascending=False, kind="stable")
    judged = judged.drop_duplicates("image")
    return judged[list(results.pictures.columns)].reset_index(drop=True)
