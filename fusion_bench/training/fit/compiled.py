"""The forward pass of a training step with the slot and the head compiled by `torch.compile`.

The mode ``reduce-overhead`` records the kernels of slot and head as CUDA graphs on a GPU; on a CPU it compiles
without graphs. Backbone and text encoder run as they are: a recurrence is no single graph, and it is the same for
every arm. Batches of a training all have the same shape, so there is one graph; evaluation uses the model as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from fusion_bench.errors import CellFailure
from fusion_bench.samples.split import Batch
from fusion_bench.training.config import CellConfig
from fusion_bench.training.model import FusionModel

_COMPILER = "inductor"


class CompiledForward:
    """Computes what ``model(batch)`` computes, up to rounding.

    Args:
        model: the model; its parameters are used where they are.
        config: the settings of the cell.
    """

    def __init__(self, model: FusionModel, config: CellConfig) -> None:
        self._model, self._arm = model, config.arm.target.asked
        # A process that trains one cell after the other drops the code and the graphs of the models before.
        torch.compiler.reset()
        self._fuse = torch.compile(
            model.fuse, backend=_COMPILER, mode=config.train.compile, fullgraph=True, dynamic=False
        )

    def __call__(self, batch: Batch) -> Tensor:
        """Return the output of the head ``[B, ...]``; it is overwritten by the next call on a GPU.

        Raises:
            CellFailure: slot and head do not compile into one graph.
        """
        visual, language = self._model.encode(batch)
        torch.compiler.cudagraph_mark_step_begin()
        try:
            output: Tensor = self._fuse(visual, language)
        except TorchDynamoException as error:
            reason = next(
                (line.strip() for line in str(error).splitlines() if line.strip()), "no reason given"
            )
            raise CellFailure(
                f"{self._arm!r} cannot be compiled into one graph ({reason}); leave train.compile out of the study, "
                f"or change what the module does so that torch.compile(fullgraph=True) takes it"
            ) from error
        return output
