"""LaConvNet: networks whose blocks convolve with kernels predicted from the words (Luo et al., arXiv 2110.08797).

A name is imported at its first use: the command line imports ``convert`` at every start, and a network in a study
does not need the checkpoint reader.
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

_DEFINED_IN = {
    "LaConvNetB": "network",
    "LaConvNetS": "network",
    "LaConvNetText": "language",
    "LaConvNetTiny": "network",
    "OfficialLaConvNet": "official",
    "load_official": "official",
    "to_official": "convert",
}


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)
