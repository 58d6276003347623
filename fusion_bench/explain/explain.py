"""What a finished cell listened to: its fusion modules, asked about one picture and one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_bench.cells.folder import cell_folder
from fusion_bench.contract import Explains, Explanation
from fusion_bench.errors import FusionBenchError
from fusion_bench.explain.load_model import TrainedCell, load_trained_cell
from fusion_bench.explain.select import cannot_explain_message, explainable_arm, finished_cell
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Batch
from fusion_bench.samples.vocabulary import tokenize
from fusion_bench.spec.study import Study
from fusion_bench.tasks.answering import Answering
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class ExplainedInput:
    """A picture and a sentence; ``truth`` and ``sample`` are None where they are not a data set's."""

    image: Path
    text: str
    truth: str | None = None
    sample: str | None = None


@dataclass(frozen=True)
class ExplainRequest:
    """Whom to ask about what.

    Attributes:
        arm: its label in the study.
        about: a picture and a sentence, or the id of a sample.
        seed: one of the study's; its first if left out.
        copy: which of the arm's fusion modules, counted from 1; the last if left out.
    """

    arm: str
    about: ExplainedInput | str
    seed: int | None = None
    copy: int | None = None


@dataclass(frozen=True)
class Answer:
    """What the cell answered, and the probability that it gave to it."""

    text: str
    probability: float


@dataclass(frozen=True, eq=False)
class ExplainedCell:
    """One sentence as one fusion module heard it.

    Attributes:
        study: its name; ``arm``, ``component``, ``seed``, ``cell``: who was asked.
        doubt: why the cell is stale; empty if it is not.
        copy: which of ``copies`` fusion modules was asked, from 1.
        subject: about what.
        words: the sentence's words, ``T`` of them, as far as the study reads sentences.
        known: ``T`` times whether a word is in the vocabulary; one that is not was read as unknown.
        attention: ``[T, H, W]`` float32, how much each position listens to each word.
        kernels: ``[G, k*k, H', W']`` float32, taps row by row; None if the module builds none.
        answer: None for a task that does not choose among answers.
    """

    study: str
    arm: str
    component: str
    seed: int
    cell: str
    stale_reason: str
    copy: int
    copies: int
    subject: ExplainedInput
    words: tuple[str, ...]
    known: tuple[bool, ...]
    attention: npt.NDArray[np.float32]
    kernels: npt.NDArray[np.float32] | None
    answer: Answer | None


def explain(study: Study, wanted: ExplainRequest, paths: RunPaths) -> ExplainedCell:
    """Ask a finished cell of a study what it listens to.

    Args:
        study: read and checked.
        wanted: which cell, and about what.
        paths: where runs, data and weights lie; the model runs on the CPU whatever its device.

    Raises:
        FusionBenchError: there is no such arm, seed, sample, picture or copy, the cell has no weights, or
            the arm does not explain itself.
    """
    arm = explainable_arm(study, wanted.arm, paths)
    asked = finished_cell(study, arm, wanted.seed, paths)
    trained = load_trained_cell(cell_folder(paths.runs, asked.cell.id), paths)
    subject = _subject(trained.data, wanted.about)
    batch = trained.batch(subject.image, subject.text)
    parts = explaining_parts(trained.model.slot)
    if not parts:
        raise FusionBenchError(cannot_explain_message(study, arm))
    copy = len(parts) if wanted.copy is None else wanted.copy
    if not 1 <= copy <= len(parts):
        there = "1 copy" if len(parts) == 1 else f"{len(parts)} copies, counted from 1"
        raise FusionBenchError(
            f"--copy {copy}: the arm {arm.label!r} has {there} of a module that explains itself"
        )
    output, explanation = _ask(trained, batch, parts[copy - 1])
    words, known = zip(*trained.vocabulary.read(subject.text, trained.config.data.longest_text), strict=True)
    attention, kernels = _checked(explanation, len(words), type(parts[copy - 1]).__name__)
    return ExplainedCell(
        study=study.name,
        arm=arm.label,
        component=arm.component,
        seed=asked.cell.seed,
        cell=asked.cell.id,
        stale_reason=asked.reason,
        copy=copy,
        copies=len(parts),
        subject=subject,
        words=words,
        known=known,
        attention=attention,
        kernels=kernels,
        answer=_answer(trained, output),
    )


def explaining_parts(slot: nn.Module) -> list[nn.Module]:
    """The modules of a slot that explain themselves, outermost first, in the order of their construction.

    For an arm of fusion modules these are its copies; for an end-to-end network, its blocks that can.
    """
    return list(_walk(slot))


def _walk(part: nn.Module) -> Iterator[nn.Module]:
    for child in part.children():
        if isinstance(child, Explains):
            yield child
        else:
            yield from _walk(child)


def _subject(data: DataSet, about: ExplainedInput | str) -> ExplainedInput:
    """What to ask about; a sample is looked for in the splits that judge first."""
    if isinstance(about, ExplainedInput):
        if not tokenize(about.text):
            raise FusionBenchError(f"the sentence {about.text!r} holds no word")
        return about
    names = (*data.splits.evaluate, data.splits.select, data.splits.train)
    for name in names:
        split = data.split(name)
        (rows,) = np.nonzero((split.table["sample"] == about).to_numpy())
        if len(rows):
            sample = split.sample(int(rows[0]))
            return ExplainedInput(sample.image, sample.text, sample.truth, sample.id)
    first = data.split(names[0]).table["sample"].iloc[0]
    raise FusionBenchError(
        f"no split of {data.name} ({', '.join(names)}) has a sample {about!r}; the first of {names[0]} is "
        f"{str(first)!r}, and every cell's samples.parquet lists those that it was judged on"
    )


@torch.no_grad()
def _ask(trained: TrainedCell, batch: Batch, part: nn.Module) -> tuple[Tensor, Explanation]:
    """The model's output, and the part's explanation of what it was given on the way."""
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    watch = part.register_forward_pre_hook(
        lambda _, args, kwargs: given.append((args, kwargs)), with_kwargs=True
    )
    try:
        output: Tensor = trained.model(batch)
    finally:
        watch.remove()
    if not given:
        raise FusionBenchError(
            f"the model never calls its {type(part).__name__}; there is nothing to explain"
        )
    assert isinstance(part, Explains)  # noqa: S101 - it was chosen for that
    args, kwargs = given[0]
    return output, part.explain(*args, **kwargs)


def _checked(
    explanation: Explanation, words: int, who: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Attention ``[T, H, W]`` and kernels ``[G, k*k, H, W]`` of the one sample, held to the protocol."""
    attention, kernels = explanation.words, explanation.kernels
    if attention.dim() != 4 or attention.shape[:2] != (1, words):
        raise FusionBenchError(
            f"{who}.explain gives words {list(attention.shape)} for one sentence of {words} words; the protocol "
            "asks for [B, T, H, W]"
        )
    if kernels is None:
        return attention[0].float().numpy(), None
    if kernels.dim() != 5 or kernels.shape[0] != 1 or math.isqrt(kernels.shape[2]) ** 2 != kernels.shape[2]:
        raise FusionBenchError(
            f"{who}.explain gives kernels {list(kernels.shape)}; the protocol asks for [B, G, k*k, H, W]"
        )
    return attention[0].float().numpy(), kernels[0].float().numpy()


def _answer(trained: TrainedCell, output: Tensor) -> Answer | None:
    if not isinstance(trained.task, Answering):
        return None
    decided = int(trained.task.decide(output)[0])
    return Answer(trained.task.answers[decided], float(trained.task.probabilities(output)[0, decided]))
