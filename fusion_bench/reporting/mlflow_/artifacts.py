"""The files of MLflow runs: sent to a server, or copied into the folder of artifacts of a runs folder.

The runs of a database that fusion-bench keeps have addresses without a folder (``mlflow-artifacts:/study/run``).
`fusion-bench ui` looks them up in ``artifacts`` beside the database, so that a copied runs folder keeps its files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.storage import replacing, write_text

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ArtifactFiles:
    """Puts files to runs.

    Args:
        client: of the store.
        store: the store.
    """

    def __init__(self, client: MlflowClient, store: TrackingStore) -> None:
        self._client, self._root = client, store.artifacts

    def put(self, run: str, address: str, place: str, path: Path) -> None:
        """Make a file an artifact of a run.

        Args:
            run: the id of the run.
            address: the address of its artifacts.
            place: the path among its artifacts.
            path: the file, whose name is that of ``place``.
        """
        if self._root is None:
            folder = str(PurePosixPath(place).parent)
            self._client.log_artifact(run, str(path), artifact_path=None if folder == "." else folder)
            return
        target = self._folder(address) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            shutil.copyfile(path, part)

    def put_text(self, run: str, address: str, place: str, text: str) -> None:
        """Make a text an artifact of a run; see `put`."""
        if self._root is None:
            self._client.log_text(run, text, place)
            return
        target = self._folder(address) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)

    def put_model(
        self, experiment: str, run: str, name: str, weights: Path, params: Mapping[str, str]
    ) -> None:
        """Make kept weights a logged model of a run, whose file is the ``model.safetensors`` of the cell."""
        from mlflow.entities import LoggedModelOutput  # noqa: PLC0415 - takes seconds

        known = {key: value for key, value in params.items() if len(value) <= 250}
        model = self._client.create_logged_model(
            experiment, _model_name(name), run, {"cell_file": weights.name}, known, "safetensors"
        )
        # Before the file is sent: a model is deleted with its run, also if that is never done.
        self._client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        if self._root is None:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / weights.name).symlink_to(weights.resolve())
                self._client.log_model_artifacts(model.model_id, folder)
        else:
            target = self._folder(model.artifact_location) / weights.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as part:
                shutil.copyfile(weights, part)
        self._client.finalize_logged_model(model.model_id, "READY")

    def remove(self, run: str, address: str) -> None:
        """Delete the files of a run from the folder of artifacts, and its models from the store."""
        outputs = self._client.get_run(run).outputs
        models = [] if outputs is None else [output.model_id for output in outputs.model_outputs or []]
        for model in models:
            found = self._client.get_logged_model(model)
            self._client.delete_logged_model(model)
            self._remove_folder(found.artifact_location)
        self._remove_folder(address)

    def _remove_folder(self, address: str) -> None:
        if self._root is not None and urlsplit(address).scheme == "mlflow-artifacts":
            shutil.rmtree(self._folder(address).parent, ignore_errors=True)

    def _folder(self, address: str) -> Path:
        """Return the folder behind an address ``mlflow-artifacts:/study/run/artifacts``.

        Raises:
            FusionBenchError: the address, which may be that of a database of somebody else, leads elsewhere.
        """
        assert self._root is not None  # noqa: S101 - asked only of a store that fusion-bench keeps
        parts = PurePosixPath(urlsplit(address).path.lstrip("/")).parts
        if len(parts) < 3 or ".." in parts:
            raise FusionBenchError(f"MLflow names {address!r} as a folder of {self._root}, which it is not")
        return self._root.joinpath(*parts)


def _model_name(name: str) -> str:
    """Return a name that MLflow accepts for a model: without slash, colon, dot, percent, quotation marks."""
    return "".join("-" if sign in "/:.%\"'" else sign for sign in name)
