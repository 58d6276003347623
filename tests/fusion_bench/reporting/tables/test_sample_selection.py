"""The selection of shown samples and of the answers beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd

from fusion_bench.reporting.tables.sample_selection import majority_answers, select_samples
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


def test_the_majority_answers_and_a_tie_goes_to_the_lowest_seed(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    picture = results.pictures.head(1)
    own = results.samples["sample"] == picture["sample"].item()
    for arm, given in {"film": ["b", "a", "a"], "concat": ["z", "m", "a"]}.items():
        results.samples.loc[own & (results.samples["arm"] == arm), "prediction"] = given
    found = majority_answers(results, picture).set_index("arm")
    assert found.loc["film", ["answer", "votes", "seeds"]].tolist() == ["a", 2, 3]
    assert found.loc["concat", ["answer", "votes"]].tolist() == ["z", 1]


def test_shown_pictures_split_the_arms_and_none_is_shown_twice(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    chosen = select_samples(results)
    assert len(chosen) > 1 and chosen["image"].is_unique
    answers = majority_answers(results, chosen)
    modules = answers[~answers["arm"].isin(["question_only", "image_only", "prior"])]
    right = modules.groupby("sample")["right"].agg(["sum", "size"])
    assert ((right["sum"] > 0) & (right["sum"] < right["size"])).all()


def test_choosing_among_the_chosen_changes_nothing(make_results: Make) -> None:
    results = make_results()
    chosen = select_samples(results)
    again = select_samples(dataclasses.replace(results, pictures=chosen))
    pd.testing.assert_frame_equal(chosen, again)
