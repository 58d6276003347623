"""The lines beside a sample of the gallery: the truth, and the answer of each arm or of each group of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.lettering import cut, wrap
from fusion_bench.reporting.figures.style import RIGHT, SOFT, WRONG
from fusion_bench.reporting.tables.tables import Row

_LISTED = 10
"""The largest number of arms and controls of which each has a line; more are grouped by their answers."""
_GROUPS, _GROUP_LINES = 4, 3
"""The largest numbers of groups, and of lines for the names of one."""
_NAME_LETTERS, _LINE_LETTERS = (5, 17), 21
_WIDE_NAME_LETTERS, _WIDE_LINE_LETTERS = (10, 32), 42
"""Smallest and largest number of letters for the name of an arm, and the number for name and answer together: beside
an image, and below a wide one."""
_GROUP_LETTERS, _WIDE_GROUP_LETTERS = 34, 66
_ANSWER_LETTERS, _WIDE_ANSWER_LETTERS = 14, 30
"""The largest number of letters of an answer beside an image, and below a wide one."""
_TRUTH_LEGEND = "white line"
_RIGHT_SIGN, _WRONG_SIGN = "\N{CHECK MARK}", "\N{BALLOT X}"


@dataclass(frozen=True)
class AnswerLine:
    """One line: a sign, a name on the left, an answer and a number of seeds on the right.

    Attributes:
        sign: whether the answer is right; empty on a line without an answer.
        name: the name of an arm, or the names of several.
        answer: the answer.
        votes: how many seeds gave it.
        color: the colour of sign and answer.
        name_color: the colour of the name; that of a box or mask of the arm, if it is drawn.
        bold: whether the line is a heading.
    """

    sign: str
    name: str
    answer: str
    votes: str
    color: str
    name_color: str
    bold: bool = False


def sample_lines(
    data: FigureData, truth: str, answers: Sequence[Row], colors: Mapping[str, str], *, wide: bool
) -> list[AnswerLine]:
    """Return the lines of one sample.

    Args:
        data: the input of the figure.
        truth: the true answer, where it is a text.
        answers: the rows of `Tables.answers` of the sample, the best arm first.
        colors: arm -> the colour of its box or mask; empty for texts.
        wide: whether the lines stand below a wide image, with more room.
    """
    room = _WIDE_ANSWER_LETTERS if wide else _ANSWER_LETTERS
    shown = truth if data.results.shows == "text" else _TRUTH_LEGEND
    lines = [AnswerLine("", "truth", data.lettering.fit(shown, room), "", SOFT, SOFT, bold=True)]
    if len(answers) <= _LISTED:
        return lines + _single_lines(data, answers, colors, wide=wide)
    drawn = [row for row in answers if row["arm"] in colors]
    lines += _single_lines(data, drawn, colors, wide=wide)
    rest = [row for row in answers if row["arm"] not in colors]
    groups: dict[tuple[bool, str], list[Row]] = {}
    for row in rest:
        text = row["answer"] if data.results.shows == "text" else ""
        groups.setdefault((bool(row["right"]), text), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: (not group[0][0], -len(group[1])))
    for (right, text), rows in ordered[:_GROUPS]:
        lines += _group_lines(
            data, rows, data.lettering.fit(text, room), len(answers), right=right, wide=wide
        )
    if others := sum(len(rows) for _, rows in ordered[_GROUPS:]):
        lines.append(
            AnswerLine(_WRONG_SIGN, f"{others} of {len(answers)}", "others", "", WRONG, WRONG, bold=True)
        )
    return lines


def _single_lines(
    data: FigureData, answers: Sequence[Row], colors: Mapping[str, str], *, wide: bool
) -> list[AnswerLine]:
    room = _WIDE_ANSWER_LETTERS if wide else _ANSWER_LETTERS
    shown = [data.lettering.fit(row["display"], room) for row in answers]
    fewest, most = _WIDE_NAME_LETTERS if wide else _NAME_LETTERS
    line_letters = _WIDE_LINE_LETTERS if wide else _LINE_LETTERS
    letters = max(fewest, min(most, line_letters - max(map(cell_len, shown), default=0)))
    return [
        AnswerLine(
            _RIGHT_SIGN if row["right"] else _WRONG_SIGN,
            cut(data.labels[row["arm"]], letters),
            answer,
            f"{row['votes']} of {row['seeds']}" if row["seeds"] > 1 else "",
            RIGHT if row["right"] else WRONG,
            colors.get(row["arm"], SOFT),
        )
        for row, answer in zip(answers, shown, strict=True)
    ]


def _group_lines(
    data: FigureData, rows: Sequence[Row], answer: str, of: int, *, right: bool, wide: bool
) -> list[AnswerLine]:
    """Return how many ``of`` the arms and controls gave an answer, then their names, the best first."""
    color, sign = (RIGHT, _RIGHT_SIGN) if right else (WRONG, _WRONG_SIGN)
    answer = answer or ("right" if right else "wrong")
    head = AnswerLine(sign, f"{len(rows)} of {of}", answer, "", color, color, bold=True)
    letters = _WIDE_GROUP_LETTERS if wide else _GROUP_LETTERS
    names = [data.labels[row["arm"]] for row in rows]
    text, left = ", ".join(names), 0
    while len(wrap(text, letters)) > _GROUP_LINES and left < len(names) - 1:
        left += 1
        text = f"{', '.join(names[:-left])} and {left} more"
    lines = [cut(line, letters) for line in wrap(text, letters)[:_GROUP_LINES]]
    return [head, *(AnswerLine("", line, "", "", SOFT, SOFT) for line in lines)]
