"""The published calibration has every standard case, and the page on statistics quotes its numbers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fusion_bench.calibration.cases import CaseResult
from fusion_bench.calibration.grid import standard_cases
from fusion_bench.statistics.rates import Rates

ROOT = Path(__file__).parents[3]
RATES = Rates(1, *[0.5] * 11)


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return pd.read_csv(ROOT / "reports" / "calibration" / "calibration.csv")


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "explanation" / "statistics.md").read_text(encoding="utf-8")


def test_every_standard_case_is_published(published: pd.DataFrame) -> None:
    rows = pd.DataFrame([CaseResult(case, RATES).row() for case in standard_cases()])
    drawn_by = [name for name in rows if name not in {*Rates.__dataclass_fields__, "held", "fails"}]
    pd.testing.assert_frame_equal(published[drawn_by], rows[drawn_by], check_dtype=False)
    assert published["studies"].min() >= 1000, "not a short run"


def share(row: pd.Series, rate: str) -> str:
    return rf"{100 * row[rate]:.1f} $\pm$ {100 * row[rate + '_error']:.1f} %"


def tail(row: pd.Series) -> str:
    return rf"{row['tail']:.2f} $\pm$ {row['tail_error']:.2f}"


def test_the_page_quotes_the_published_numbers(published: pd.DataFrame, page: str) -> None:
    null = published[published["effect"] == 0]
    verdicts, controls, ties = (null[null["asked"] == kind] for kind in ("verdicts", "controls", "ties"))
    many, two = verdicts[verdicts["arms"] > 2], verdicts[verdicts["arms"] == 2]

    def worst(rows: pd.DataFrame, rate: str, *, least: bool = False) -> pd.Series:
        return rows.loc[rows[rate].idxmin() if least else rows[rate].idxmax()]

    def power(kind: str, arms: int, seeds: int, effect: float) -> str:
        rows = published[published["asked"] == kind]
        rows = rows[(rows["scatter"] == "equal") & (rows["arms"] == arms) & (rows["seeds"] == seeds)]
        return share(rows[rows["effect"] == effect].iloc[0], "power")

    lines = {
        "coverage of the 95 % interval, mean over arms, lowest": share(
            worst(many, "coverage", least=True), "coverage"
        ),
        "the same, worst arm": share(worst(many, "worst_coverage", least=True), "worst_coverage"),
        "family-wise error, highest": share(worst(many, "family_error"), "family_error"),
        "highest, 5 comparisons": tail(worst(many[many["arms"] == 6], "tail")),
        "highest, 26 comparisons": tail(worst(many[many["arms"] == 27], "tail")),
        "two arms: coverage, lowest; error, highest": (
            f"{share(worst(two, 'coverage', least=True), 'coverage')}; "
            f"{share(worst(two, 'family_error'), 'family_error')}"
        ),
        "power for 8 points, 26 comparisons, 3 seeds": power("verdicts", 27, 3, 8.0),
        "power for 4 points, 26 comparisons, 5 seeds": power("verdicts", 27, 5, 4.0),
        "leads over controls (level 2.5 %): family-wise error, highest": share(
            worst(controls, "family_error"), "family_error"
        ),
        "leads over controls: coverage, lowest": share(worst(controls, "coverage", least=True), "coverage"),
        "leads over controls: tail, highest, up to 6 arms": tail(
            worst(controls[controls["arms"] <= 6], "tail")
        ),
        "leads over controls: tail, highest, 27 arms": tail(worst(controls[controls["arms"] == 27], "tail")),
        "leads over controls: power for a lead of 8 points, 27 arms, 3 seeds": power("controls", 27, 3, 8.0),
        "tie groups: two equal arms without a common letter, highest": share(
            worst(ties, "family_error"), "family_error"
        ),
    }
    for start, value in lines.items():
        assert any(start in line and value in line for line in page.splitlines()), (start, value)


def test_the_page_says_how_many_cases_fail(published: pd.DataFrame, page: str) -> None:
    held = published["held"].fillna("")
    fail, near = (int((held == state).sum()) for state in ("fails", "holds within error"))
    text = " ".join(page.split())
    assert (
        f"Of {int((held != '').sum())} cases with bounds {fail} fail and {near} hold within two Monte-Carlo errors"
        in text
    )
