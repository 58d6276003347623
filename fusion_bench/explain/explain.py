"""Explanations of a finished cell: the attention and kernels of its fusion modules for one image and sentence."""

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
    """An image and a sentence.

    Attributes:
        image: the image file.
        text: the sentence.
        truth: the true answer; None if the input is not a sample of the data set.
        sample: the id of the sample; None if the input is not a sample of the data set.
    """

    image: Path
    text: str
    truth: str | None = None
    sample: str | None = None


@dataclass(frozen=True)
class ExplainRequest:
    """The arm to explain, and the input.

    Attributes:
        arm: the label of the arm in the study.
        explained_input: an image and a sentence, or the id of a sample.
        seed: a seed of the study; None for its first seed.
        copy: the number of the fusion module among the copies of the arm, from 1; None for the last copy.
    """

    arm: str
    explained_input: ExplainedInput | str
    seed: int | None = None
    copy: int | None = None


@dataclass(frozen=True)
class Answer:
    """The answer of the cell and the probability that the cell gives to it."""

    text: str
    probability: float


@dataclass(frozen=True, eq=False)
class ExplainedCell:
    """The explanation of one fusion module for one image and sentence.

    Attributes:
        study: the name of the study.
        arm: the label of the arm.
        component: the component of the arm.
        seed: the seed of the cell.
        cell: the id of the cell.
        stale_reason: why the cell is stale; empty if it is not stale.
        copy: the number of the explained fusion module among the copies, from 1.
        copies: the number of fusion modules that explain themselves.
        explained_input: the image and the sentence.
        words: the ``T`` words of the sentence that the study reads.
        known: for each word, whether it is in the vocabulary; other words are read as unknown words.
        attention: ``[T, H, W]`` float32, the attention of each position to each word.
        kernels: ``[G, k*k, H', W']`` float32, taps row by row; None if the module builds no kernels.
        answer: the answer of the cell; None for a task without a set of answers.
    """

    study: str
    arm: str
    component: str
    seed: int
    cell: str
    stale_reason: str
    copy: int
    copies: int
    explained_input: ExplainedInput
    words: tuple[str, ...]
    known: tuple[bool, ...]
    attention: npt.NDArray[np.float32]
    kernels: npt.NDArray[np.float32] | None
    answer: Answer | None


def explain(study: Study, request: ExplainRequest, paths: RunPaths) -> ExplainedCell:
    """Return the explanation of a fusion module of a finished cell.

    Args:
        study: the study.
        request: the arm, seed and copy to explain, and the input.
        paths: the folders of runs, data and weights; the model always runs on the CPU.

    Raises:
        FusionBenchError: the arm, seed, sample, image or copy does not exist, the cell has no weights, or
            the arm does not explain itself.
    """
    arm = explainable_arm(study, request.arm, paths)
    status = finished_cell(study, arm, request.seed, paths)
    trained = load_trained_cell(cell_folder(paths.runs, status.cell.id), paths)
    explained_input = _find_input(trained.data, request.explained_input)
    batch = trained.batch(explained_input.image, explained_input.text)
    modules = explaining_modules(trained.model.slot)
    if not modules:
        raise FusionBenchError(cannot_explain_message(study, arm))
    copy = len(modules) if request.copy is None else request.copy
    if not 1 <= copy <= len(modules):
        available = "1 copy" if len(modules) == 1 else f"{len(modules)} copies, counted from 1"
        raise FusionBenchError(
            f"--copy {copy}: the arm {arm.label!r} has {available} of a module that explains itself"
        )
    output, explanation = _forward_and_explain(trained, batch, modules[copy - 1])
    words, known = zip(
        *trained.vocabulary.read(explained_input.text, trained.config.data.longest_text), strict=True
    )
    attention, kernels = _checked_arrays(explanation, len(words), type(modules[copy - 1]).__name__)
    return ExplainedCell(
        study=study.name,
        arm=arm.label,
        component=arm.component,
        seed=status.cell.seed,
        cell=status.cell.id,
        stale_reason=status.reason,
        copy=copy,
        copies=len(modules),
        explained_input=explained_input,
        words=words,
        known=known,
        attention=attention,
        kernels=kernels,
        answer=_answer(trained, output),
    )


def explaining_modules(slot: nn.Module) -> list[nn.Module]:
    """Return the modules of a slot that explain themselves, in the order of their construction.

    Modules inside a returned module are left out. For an arm with fusion modules the result is its copies; for an
    end-to-end network it is the blocks that explain themselves.
    """
    return list(_walk(slot))


def _walk(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, Explains):
            yield child
        else:
            yield from _walk(child)


def _find_input(data: DataSet, wanted: ExplainedInput | str) -> ExplainedInput:
    """Return the input; a sample id is searched in the evaluate splits first, then in select and train."""
    if isinstance(wanted, ExplainedInput):
        if not tokenize(wanted.text):
            raise FusionBenchError(f"the sentence {wanted.text!r} contains no word; write at least one")
        return wanted
    names = (*data.splits.evaluate, data.splits.select, data.splits.train)
    for name in names:
        split = data.split(name)
        (rows,) = np.nonzero((split.table["sample"] == wanted).to_numpy())
        if len(rows):
            sample = split.sample(int(rows[0]))
            return ExplainedInput(sample.image, sample.text, sample.truth, sample.id)
    first = data.split(names[0]).table["sample"].iloc[0]
    raise FusionBenchError(
        f"no split of {data.name} ({', '.join(names)}) has a sample {wanted!r}; the first of {names[0]} is "
        f"{str(first)!r}, and samples.parquet of each cell lists the samples on which it was evaluated"
    )


@torch.no_grad()
def _forward_and_explain(trained: TrainedCell, batch: Batch, module: nn.Module) -> tuple[Tensor, Explanation]:
    """Return the output of the model and the explanation of ``module`` for the arguments that it got."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = module.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    try:
        output: Tensor = trained.model(batch)
    finally:
        hook.remove()
    if not calls:
        raise FusionBenchError(
            f"the model does not call its {type(module).__name__}, so there is nothing to explain"
        )
    assert isinstance(module, Explains)  # noqa: S101 - `explaining_modules` returns only such modules
    args, kwargs = calls[0]
    return output, module.explain(*args, **kwargs)


def _checked_arrays(
    explanation: Explanation, words: int, name: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Return attention ``[T, H, W]`` and kernels ``[G, k*k, H, W]`` of the single sample, with checked shapes.

    Raises:
        FusionBenchError: a shape differs from `fusion_bench.contract.Explains`; ``name`` is the class in the message.
    """
    attention, kernels = explanation.words, explanation.kernels
    if attention.dim() != 4 or attention.shape[:2] != (1, words):
        raise FusionBenchError(
            f"{name}.explain gives words {list(attention.shape)} for one sentence of {words} words; the protocol "
            "requires [B, T, H, W]"
        )
    if kernels is None:
        return attention[0].float().numpy(), None
    if kernels.dim() != 5 or kernels.shape[0] != 1 or math.isqrt(kernels.shape[2]) ** 2 != kernels.shape[2]:
        raise FusionBenchError(
            f"{name}.explain gives kernels {list(kernels.shape)}; the protocol requires [B, G, k*k, H, W]"
        )
    return attention[0].float().numpy(), kernels[0].float().numpy()


def _answer(trained: TrainedCell, output: Tensor) -> Answer | None:
    if not isinstance(trained.task, Answering):
        return None
    index = int(trained.task.decide(output)[0])
    return Answer(trained.task.answers[index], float(trained.task.probabilities(output)[0, index]))
