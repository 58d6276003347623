"""Layers in numpy, one position at a time, for deriving a module's output from its paper's equation."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

Array: TypeAlias = npt.NDArray[np.float64]


class Layers:
    """The parameters and statistics of a module by name, and the operations of its layers on vectors and maps."""

    def __init__(self, module: nn.Module) -> None:
        self.named: dict[str, Array] = {key: value.numpy() for key, value in module.state_dict().items()}

    def __getitem__(self, name: str) -> Array:
        return self.named[name]

    def linear(self, name: str, vector: Array) -> Array:
        """Return ``W x + b``, without ``b`` if the layer has none; on one position, a 1x1 convolution is the same."""
        weight = self.named[f"{name}.weight"].reshape(-1, len(vector))
        return weight @ vector + self.named.get(f"{name}.bias", np.zeros(len(weight)))

    def pointwise(self, name: str, image: Array) -> Array:
        """Return a 1x1 convolution of ``[C, H, W]``."""
        return self.over_positions(image, lambda vector: self.linear(name, vector))

    def conv(self, name: str, image: Array) -> Array:
        """Return a square convolution of ``[C, H, W]`` with zero padding and without bias."""
        return correlate(self.named[f"{name}.weight"], image)

    def batch_norm(self, name: str, image: Array) -> Array:
        """Return batch norm of ``[C, H, W]`` in evaluation mode, channel by channel."""
        out = np.empty_like(image)
        for c in range(len(image)):
            mean, variance = self.named[f"{name}.running_mean"][c], self.named[f"{name}.running_var"][c]
            scale = self.named.get(f"{name}.weight", np.ones(len(image)))[c]
            offset = self.named.get(f"{name}.bias", np.zeros(len(image)))[c]
            out[c] = scale * (image[c] - mean) / np.sqrt(variance + 1e-5) + offset
        return out

    @staticmethod
    def over_positions(image: Array, function: Any) -> Array:
        """Apply ``function`` to the vector of every position of ``[C, H, W]``."""
        return np.stack(
            [
                np.stack([function(image[:, y, x]) for x in range(image.shape[2])], -1)
                for y in range(image.shape[1])
            ],
            axis=1,
        )


def correlate(kernel: Array, image: Array) -> Array:
    """Return the correlation of ``[O, C, k, k]`` with ``[C, H, W]``, zero-padded: ``[O, H, W]``."""
    outputs, channels, size, _ = kernel.shape
    _, height, width = image.shape
    out = np.zeros((outputs, height, width))
    for y in range(height):
        for x in range(width):
            for i in range(size):
                for j in range(size):
                    row, column = y + i - size // 2, x + j - size // 2
                    if 0 <= row < height and 0 <= column < width:
                        out[:, y, x] += kernel[:, :, i, j] @ image[:channels, row, column]
    return out


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(logits: Any) -> Array:
    powers = np.exp(np.asarray(logits) - np.max(logits))
    return powers / powers.sum()  # type: ignore[no-any-return]
