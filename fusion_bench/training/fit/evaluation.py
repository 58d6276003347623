"""The evaluation of a model on the splits of a cell."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from fusion_bench.errors import CellFailure
from fusion_bench.samples.split import Split
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.fit.step_done import OnStep, StepDone
from fusion_bench.training.model import FusionModel, autocast

EVALUATION_BATCH = 256


class Evaluator:
    """Evaluates models on the splits of a cell.

    Args:
        config: the settings of the cell.
        cell_data: the data.
        loaders: the batches of each split, by its name.
        device: the device that computes.
        on_step: called after each batch; None calls nothing.
    """

    def __init__(
        self,
        config: CellConfig,
        cell_data: CellData,
        loaders: Mapping[str, BatchLoader],
        device: torch.device,
        on_step: OnStep | None = None,
    ) -> None:
        self._config, self._loaders, self._device, self._on_step = config, loaders, device, on_step
        self._task, self._splits, self._names = cell_data.task, cell_data.splits, cell_data.metrics

    def selection(self, model: FusionModel) -> float:
        """Return the data set's first metric on the selection split.

        Raises:
            CellFailure: see `_rows`; all methods raise it.
        """
        return float(self._task.metrics[self._names[0]].compute(self._rows(model, self._splits.select)))

    def samples(self, model: FusionModel) -> pd.DataFrame:
        """Return one row per sample of the selection split and, unless the cell is of a search, those evaluated."""
        names = [self._splits.select]
        if self._config.evaluate:
            names += self._splits.evaluate
        return pd.concat([self._rows(model, name) for name in names], ignore_index=True)

    def predictions(self, model: FusionModel) -> pd.DataFrame | None:
        """Return the predictions on the splits without a published truth; None if there are none."""
        names = self._splits.predict if self._config.evaluate else ()
        rows = [self._rows(model, name)[["split", "sample", "prediction"]] for name in names]
        return pd.concat(rows, ignore_index=True) if rows else None

    def metrics(self, samples: pd.DataFrame) -> dict[str, float]:
        """Return the values of all metrics by ``<split>/<metric>``, computed from the rows of `samples`."""
        metrics = [self._task.metrics[name] for name in self._names]
        return {
            f"{split}/{metric.name}": metric.compute(rows)
            for split, rows in samples.groupby("split", sort=True)
            for metric in metrics
        }

    @torch.no_grad()
    def _rows(self, model: FusionModel, split: str) -> pd.DataFrame:
        """Return the rows of a split, scored batch by batch because outputs may be large (masks).

        Raises:
            CellFailure: an output is not finite. The most probable answer among NaN would be the first of the list.
        """
        model.eval()
        loader, rows = self._loaders[split], []
        steps = -(-len(loader) // EVALUATION_BATCH)
        for step, (part, batch) in enumerate(loader.in_order(EVALUATION_BATCH), start=1):
            with autocast(self._config, self._device):
                output = model(batch)
            _check_output(output, part)
            rows.append(self._task.score_rows(part, output))
            if self._on_step is not None:
                self._on_step(StepDone("evaluation", step, steps))
        return pd.concat(rows, ignore_index=True)


def _check_output(output: Tensor, part: Split) -> None:
    """Raise an error that names the first sample of ``part`` whose output in ``[B, ...]`` is NaN or infinite."""
    finite = torch.isfinite(output).flatten(1).all(1)  # [B]
    if not bool(finite.all()):
        bad = (~finite).nonzero()[:, 0].tolist()
        first = str(part.table["sample"].iloc[bad[0]])
        raise CellFailure(
            f"the output was not finite for {len(bad)} of {len(finite)} samples of a batch of the split "
            f"{part.name!r}, the first of them {first!r}; check what the module does in evaluation (model.eval()): "
            "divisions by zero, square roots at zero, running statistics"
        )
