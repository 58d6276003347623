"""Ask about scene after scene: families equally often, answers equally often within each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from fusion_bench.data.miniclevr.questions.families import FAMILIES
from fusion_bench.data.miniclevr.questions.phrases import Phrase, program
from fusion_bench.data.miniclevr.questions.sampling import sample_question
from fusion_bench.data.miniclevr.questions.strata import Rounds, Stratum, strata_of
from fusion_bench.data.miniclevr.questions.templates import write_question
from fusion_bench.data.miniclevr.questions.view import View
from fusion_bench.data.programs import Facts

_CELLS_TRIED = 12


@dataclass(frozen=True, slots=True)
class GeneratedQuestion:
    """A question about one scene; ``program`` is in the released form."""

    family: int
    text: str
    answer: str
    program: list[dict[str, Any]]


def generate_questions(
    scenes: Sequence[Facts], kinds: Sequence[str], per_scene: int, stream: str
) -> Iterator[tuple[GeneratedQuestion, ...]]:
    """Questions about each scene in turn.

    What is asked of one scene depends on the scenes before it, since answers are balanced over all of
    them; so one call serves one split, and the result does not depend on how work is spread.

    Args:
        scenes: the split's scenes.
        kinds: question kinds to draw families from; all families are asked about equally often, except
            where the scenes do not allow it.
        per_scene: how many questions; a scene of few objects may allow fewer.
        stream: names the random stream.
    """
    random = Random(stream)  # noqa: S311 - questions, not secrets
    rounds = Rounds(random)
    families = [strata_of(family) for family in FAMILIES if family.kind in kinds]
    asked = [0] * len(families)
    for facts in scenes:
        view = View(facts)
        questions: dict[tuple[int, tuple[Phrase, ...]], GeneratedQuestion] = {}
        progress = True
        while progress and len(questions) < per_scene:
            before = len(questions)
            # Rarest families first; a further pass follows where a scene allows few of them.
            for number in sorted(range(len(families)), key=lambda family: (asked[family], random.random())):
                if len(questions) == per_scene:
                    break
                asked[number] += _ask_one(families[number], view, rounds, random, questions)
            progress = len(questions) > before
        yield tuple(questions.values())


def _ask_one(
    options: tuple[Stratum, ...],
    view: View,
    rounds: Rounds,
    random: Random,
    questions: dict[tuple[int, tuple[Phrase, ...]], GeneratedQuestion],
) -> bool:
    """Add a question of one family to ``questions``; whether a new one was found."""
    for _ in range(_CELLS_TRIED):
        cell = rounds.choose(options)
        drawn = sample_question(cell, rounds.due(cell), view, random)
        if drawn is None or (cell.family.index, drawn.phrases) in questions:
            continue
        rounds.asked(cell, drawn.answer)
        questions[cell.family.index, drawn.phrases] = GeneratedQuestion(
            cell.family.index,
            write_question(cell.family, drawn.phrases, random),
            drawn.answer,
            program(cell.family, drawn.phrases),
        )
        return True
    return False
