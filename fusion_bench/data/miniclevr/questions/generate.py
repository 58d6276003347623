"""Generation of questions: all families are equally frequent, and all answers within each stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from fusion_bench.data.miniclevr.questions.families import FAMILIES
from fusion_bench.data.miniclevr.questions.phrases import Phrase, question_program
from fusion_bench.data.miniclevr.questions.sampling import sample_question
from fusion_bench.data.miniclevr.questions.strata import Rounds, Stratum, strata_of
from fusion_bench.data.miniclevr.questions.templates import Wordings, write_plain_question, write_question
from fusion_bench.data.miniclevr.questions.view import NAMES, SceneView, fixed_bits
from fusion_bench.data.programs import Facts

_STRATUM_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class GeneratedQuestion:
    """A question about one scene.

    Attributes:
        family: its ``question_family_index``.
        text: the English text.
        answer: the answer.
        program: the functional program in the released form.
    """

    family: int
    text: str
    answer: str
    program: list[dict[str, Any]]


def generate_questions(
    scenes: Sequence[Facts],
    kinds: Sequence[str],
    per_scene: int,
    stream: str,
    *,
    wordings: Wordings = "all",
    attributes: Sequence[str] = NAMES,
    things: int = 10,
) -> Iterator[tuple[GeneratedQuestion, ...]]:
    """Yield the questions about each scene in turn.

    The questions about a scene depend on the scenes before it, because answers are balanced over all of them. So one
    call generates a whole split, and the result does not depend on the number of processes.

    Args:
        scenes: the facts of the split's scenes.
        kinds: the question kinds; all of their families are equally frequent, as far as the scenes allow.
        per_scene: number of questions per scene; a scene with few objects or attributes may have fewer.
        stream: name of the random stream.
        wordings: the sentences; the programs and answers do not depend on them.
        attributes: the attributes that vary; no question names or asks for another one.
        things: the greatest number of objects in a scene.
    """
    random = Random(stream)  # noqa: S311 - questions, not secrets
    rounds = Rounds(random)
    fixed = fixed_bits(attributes)
    all_strata = [strata_of(family, fixed, things) for family in FAMILIES if family.kind in kinds]
    families = [strata for strata in all_strata if strata]
    question_counts = [0] * len(families)
    for facts in scenes:
        view = SceneView(facts, fixed)
        questions: dict[tuple[int, tuple[Phrase, ...]], GeneratedQuestion] = {}
        progress = True
        while progress and len(questions) < per_scene:
            before = len(questions)
            # The rarest families come first; another pass follows where a scene allows only few of them.
            for number in sorted(
                range(len(families)), key=lambda family: (question_counts[family], random.random())
            ):
                if len(questions) == per_scene:
                    break
                question_counts[number] += _add_question(families[number], view, rounds, random, questions)
            progress = len(questions) > before
        if wordings == "all":
            yield tuple(questions.values())
        else:
            yield tuple(
                replace(question, text=write_plain_question(FAMILIES[family], phrases))
                for (family, phrases), question in questions.items()
            )


def _add_question(
    options: tuple[Stratum, ...],
    view: SceneView,
    rounds: Rounds,
    random: Random,
    questions: dict[tuple[int, tuple[Phrase, ...]], GeneratedQuestion],
) -> bool:
    """Add a question of one family to ``questions``; return True if a new one was found."""
    for _ in range(_STRATUM_ATTEMPTS):
        stratum = rounds.choose(options)
        sampled = sample_question(stratum, rounds.due(stratum), view, random)
        if sampled is None or (stratum.family.index, sampled.phrases) in questions:
            continue
        rounds.record(stratum, sampled.answer)
        questions[stratum.family.index, sampled.phrases] = GeneratedQuestion(
            stratum.family.index,
            write_question(stratum.family, sampled.phrases, random),
            sampled.answer,
            question_program(stratum.family, sampled.phrases),
        )
        return True
    return False
