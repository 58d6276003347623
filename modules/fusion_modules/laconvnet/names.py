"""The names of every layer in the authors' networks and in this package, with conversion in both directions.

The tensors of a layer (``weight``, ``bias``, ``running_mean``, ...) have the same names and hold the same numbers in
the same order in both, so a conversion only renames layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from fusion_modules.laconvnet.encoder import BASE_STAGES

_Pairs = Iterator[tuple[str, str]]


def our_name(official: str) -> str | None:
    """Return this package's name of a tensor of the authors' ``state_dict``; None if they have no such tensor."""
    return _renamed(official, _OURS)


def official_name(ours: str) -> str | None:
    """Return the authors' name of a tensor of `OfficialLaConvNet`; None if it has no such tensor."""
    return _renamed(ours, _OFFICIAL)


def _renamed(name: str, layers: Mapping[str, str]) -> str | None:
    """Return a tensor's name with its layer renamed; None if ``layers`` does not have the layer."""
    layer, _, tensor = name.rpartition(".")
    return f"{layers[layer]}.{tensor}" if layer in layers else None


def _under(official: str, ours: str, pairs: Iterable[tuple[str, str]]) -> _Pairs:
    """Yield the pairs of names with a prefix on each side."""
    return ((f"{official}.{name}", f"{ours}.{our}") for name, our in pairs)


_CONV_NORM = (("conv", "conv"), ("bn", "norm"))

_TEXT = (
    ("embedding", "embedding"),
    ("lstm", "gru"),  # a GRU, despite the name
    *_under(
        "sa_list.0.mhatt", "attention", ((f"linear_{name[0]}", name) for name in ("value", "key", "query"))
    ),
    ("sa_list.0.mhatt.linear_merge", "attention.merge"),
    ("sa_list.0.ffn.mlp.fc.linear", "expand"),
    ("sa_list.0.ffn.mlp.linear", "contract"),
    ("sa_list.0.norm1", "attention_norm"),
    ("sa_list.0.norm2", "feedforward_norm"),
    ("att_flat.mlp.fc.linear", "pool.hidden"),
    ("att_flat.mlp.linear", "pool.score"),
    ("att_flat.linear_merge", "pool.merge"),
)

_BLOCK = (
    ("cond_generator.mha.linear_v", "condition.value"),
    ("cond_generator.mha.linear_k", "condition.key"),
    ("cond_generator.mha.linear_q", "condition.query"),
    ("cond_generator.mha.linear_merge", "condition.merge"),
    ("cond_generator.norm", "condition.norm"),
    ("conv1.linear", "kernels"),
    ("bn1", "norm"),
    *((f"block1.{index}", f"mlp.{index}") for index in (0, 1, 3, 4)),
)

_CROSS_STAGE_PARTIAL = (
    *_under("conv1", "through", _CONV_NORM),
    *_under("conv2", "around", _CONV_NORM),
    *_under("conv3", "join", _CONV_NORM),
    *(
        pair
        for index in range(3)
        for step in range(2)
        for pair in _under(f"m.{index}.conv{step + 1}", f"bottlenecks.{index}.{step}", _CONV_NORM)
    ),
)

_TOP_DOWN = (
    *_under("lateral_conv0", "lateral_coarse", _CONV_NORM),
    *_under("C3_p4", "fuse_middle", _CROSS_STAGE_PARTIAL),
    *_under("reduce_conv1", "lateral_middle", _CONV_NORM),
    *_under("C3_p3", "fuse_fine", _CROSS_STAGE_PARTIAL),
)

_BOTTOM_UP = (
    *_under("bu_conv2", "down_fine", _CONV_NORM),
    *_under("C3_n3", "fuse_middle", _CROSS_STAGE_PARTIAL),
    *_under("bu_conv1", "down_middle", _CONV_NORM),
    *_under("C3_n4", "fuse_coarse", _CROSS_STAGE_PARTIAL),
)

_DETECTION = (
    *_under("stems.0", "stem", _CONV_NORM),
    *_under("reg_convs.0.0", "branch.0", _CONV_NORM),
    *_under("reg_convs.0.1", "branch.1", _CONV_NORM),
    ("reg_preds.0", "box"),
    ("obj_preds.0", "objectness"),
)

_SEGMENTATION = (
    *(
        pair
        for index in range(5)
        for pair in _under(
            f"sconv.0.conv{index}", f"views.{index}", (("conv", "conv"), ("batch_norm", "norm"))
        )
    ),
    ("sconv.0.out_proj", "project"),
)


def _encoder() -> _Pairs:
    """Yield the pairs of the visual encoder.

    The authors number the down-sampling of every stage after the first as block 0 of that stage.
    """
    stages = "network.visual.stages"
    for stage, config in enumerate(BASE_STAGES):  # the small network has a subset of these blocks
        first = 0 if stage == 0 else 1
        down = "visual_encoder.stem.conv" if stage == 0 else f"visual_encoder.blocks.{stage}.0.conv"
        yield from _under(down, f"{stages}.{stage}.down", _CONV_NORM)
        for block in range(len(config.kernel_sizes)):
            official = f"visual_encoder.blocks.{stage}.{first + block}"
            yield from _under(official, f"{stages}.{stage}.blocks.{block}", _BLOCK)


_OURS: Mapping[str, str] = MappingProxyType(
    dict(
        (
            *_under("lang_encoder", "text", _TEXT),
            *_encoder(),
            *_under("multi_scale_manner", "network.neck.top_down", _TOP_DOWN),
            *_under("multi_scale_manner", "network.neck", _BOTTOM_UP),
            *_under("detection_neck", "mask_neck", _TOP_DOWN),
            *_under("head", "head", _DETECTION),
            *_under("head", "head", _SEGMENTATION),
        )
    )
)

_OFFICIAL: Mapping[str, str] = MappingProxyType({our: name for name, our in _OURS.items()})
