"""LaConvNet: networks whose every block convolves with kernels that the words write (arXiv 2110.08797).

Names are imported when they are asked for: the command line imports ``convert`` at every start, and a
network in a study has no need of the reader of checkpoints.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_modules.laconvnet.convert import to_official
    from fusion_modules.laconvnet.language import LaConvNetText
    from fusion_modules.laconvnet.network import LaConvNetB, LaConvNetS, LaConvNetTiny
    from fusion_modules.laconvnet.official import OfficialLaConvNet, load_official

__all__ = [
    "LaConvNetB",
    "LaConvNetS",
    "LaConvNetText",
    "LaConvNetTiny",
    "OfficialLaConvNet",
    "load_official",
    "to_official",
]

_HOME = {
    "LaConvNetB": "network",
    "LaConvNetS": "network",
    "LaConvNetText": "language",
    "LaConvNetTiny": "network",
    "OfficialLaConvNet": "official",
    "load_official": "official",
    "to_official": "convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
