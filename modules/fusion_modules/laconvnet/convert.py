"""``fusion-bench convert laconvnet``: conversion of the authors' checkpoint to a safetensors file, and back."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion_bench.errors import WeightsError
from fusion_bench.storage import replacing

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_modules.laconvnet.official import OfficialLaConvNet


def convert_laconvnet(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' .pth file.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The safetensors file to write.", show_default=False)],
    vocabulary: Annotated[
        Path | None,
        typer.Option(help="A file with the word of each embedding row, one per line.", show_default=False),
    ] = None,
) -> None:
    """Convert a LaConvNet checkpoint of the authors to a file that load_official reads."""
    from safetensors.torch import save_file  # noqa: PLC0415 - imports torch

    from fusion_modules.laconvnet.checkpoint import CHECKPOINT_FORMAT, is_safetensors  # noqa: PLC0415 - imports torch
    from fusion_modules.laconvnet.official import load_official  # noqa: PLC0415 - imports torch

    if is_safetensors(checkpoint):
        raise WeightsError(f"{checkpoint} is already a safetensors file; give the authors' .pth file")
    model = load_official(checkpoint, vocabulary)
    notes = {"format": "pt", "laconvnet": CHECKPOINT_FORMAT, "variant": model.variant, "task": model.task}
    if model.epoch is not None:
        notes["epoch"] = str(model.epoch)
    if model.vocabulary is not None:
        notes["vocabulary"] = json.dumps(model.vocabulary, ensure_ascii=False)
    with replacing(out) as part:
        save_file(model.state_dict(), part, notes)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    typer.echo(
        f"{out}: LaConvNet-{model.variant.upper()} {model.task}, {parameters:,} parameters, "
        f"{model.text.embedding.num_embeddings} words"
    )


def to_official(
    model_or_file: OfficialLaConvNet | str | PathLike[str],
) -> dict[str, Tensor]:
    """Return the authors' ``state_dict``: their names, with the shapes, types and bits that were loaded.

    Args:
        model_or_file: a network, whose current weights are used, or a file that `load_official` reads.

    Returns:
        Copies of the tensors by official name, without ``module.``.

    Raises:
        WeightsError: as in `load_official`.
    """
    from fusion_modules.laconvnet.names import official_name  # noqa: PLC0415 - imports torch
    from fusion_modules.laconvnet.official import load_official  # noqa: PLC0415 - imports torch

    model = load_official(model_or_file) if isinstance(model_or_file, str | PathLike) else model_or_file
    weights: dict[str, Any] = model.state_dict()
    return {official_name(name) or name: value.clone() for name, value in weights.items()}
