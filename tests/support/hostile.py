"""Fusion modules that do what a module must not do: they give NaN, or change the process that trains them."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
import warnings

import numpy as np
import torch
from torch import Tensor

from fusion_bench.contract import Language
from toys import Product


class NanInEvaluation(Product):
    """Its map is a number while it is trained, and none when it is evaluated."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        out = super().forward(visual, language)
        return out if self.training else out * float("nan")


class InfiniteForTheLast(Product):
    """In evaluation the map of the last sample of a batch is infinite."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        out = super().forward(visual, language)
        if self.training:
            return out
        return torch.cat((out[:-1], out[-1:] * float("inf")))


class NanOnLargeBatches(Product):
    """Its map is no number for batches that are larger than those of training."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        out = super().forward(visual, language)
        return out * float("nan") if len(out) > 16 else out


class Act(Product):
    """A module that does something at every step of training, and computes what `Product` computes."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        out = super().forward(visual, language)
        if self.training and visual.device.type != "meta":
            self.act()
        return out

    def act(self) -> None:
        raise NotImplementedError


class ChangesTorch(Act):
    """It changes the settings of torch."""

    def act(self) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_num_threads(3)
        torch.set_flush_denormal(True)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = True
        torch.backends.cuda.enable_math_sdp(False)
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        torch.autograd.set_detect_anomaly(True)
        torch.set_grad_enabled(False)


class ChangesSeeds(Act):
    """It draws from every global generator and seeds them anew."""

    def act(self) -> None:
        torch.manual_seed(int(torch.randint(1000, ())))
        np.random.seed(int(1000 * abs(random.gauss())))
        random.seed(7)


class ChangesProcess(Act):
    """It changes what belongs to the process and not to torch."""

    def act(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "7"
        os.environ["HOSTILE"] = "1"
        os.environ.pop("PATH", None)
        os.chdir("/")
        sys.path.insert(0, "/nowhere")
        sys.setrecursionlimit(5000)
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")


class PatchesTorch(Act):
    """It replaces a function of torch by another, which no one can undo from outside."""

    def act(self) -> None:
        torch.nn.functional.relu = torch.nn.functional.gelu  # type: ignore[assignment]


class Leaves(Act):
    """It ends the program."""

    def act(self) -> None:
        sys.exit(3)


class Hangs(Act):
    """It never comes back."""

    def act(self) -> None:
        time.sleep(1e6)


class RaisesSurrogates(Act):
    """It raises what no one expects."""

    def act(self) -> None:
        raise KeyError("\udcff" * 3)


class Kills(Act):
    """It ends its process with a last line of several megabytes."""

    def act(self) -> None:
        os.write(2, b"y" * 5_000_000 + b"\n")
        os._exit(4)


class Floods(Act):
    """It prints and prints."""

    def act(self) -> None:
        for _ in range(1000):
            print("z" * 9999)  # noqa: T201 - that is what it does


class EatsMemory(Act):
    """It asks for more memory than there is, as far as this process may have."""

    def act(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
        self.eaten = bytearray(1 << 34)
