"""Checks of a module's structure: declarations, registered parameters, saved state, devices."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.checking.subject import (
    LANGUAGE_DIM,
    VISUAL_DIM,
    WORDS,
    CheckFailed,
    Subject,
    image,
    language,
)
from fusion_bench.foreign import message_of

_OWN = frozenset({"_parameters", "_buffers", "_modules"})


def declarations(subject: Subject) -> str:
    """The module can be built, and its declarations agree with its constructor."""
    kind = subject.kind
    try:
        module = subject.fresh()
    except Exception as error:
        raise CheckFailed(
            f"{kind.__name__}({VISUAL_DIM}, {LANGUAGE_DIM}) raises {message_of(error)}",
            "let it be built from visual_dim and language_dim alone, every hyperparameter with a default",
        ) from error
    arguments = inspect.signature(kind).parameters
    space = kind.search_space(VISUAL_DIM, LANGUAGE_DIM)
    if unknown := sorted(space.keys() - arguments.keys()):
        raise CheckFailed(
            f"search_space names {', '.join(unknown)}, which the constructor does not take",
            "use the constructor's argument names",
        )
    if kind.width is not None and kind.width.argument not in arguments:
        raise CheckFailed(
            f"width names {kind.width.argument!r}, which the constructor does not take",
            "name the argument that scales its cost, or declare width = None",
        )
    if (module.listens != "nothing") != ("language" in module.reads):
        raise CheckFailed(
            f"listens is {module.listens!r} but reads is {_named(module.reads)}",
            "listens is 'nothing' exactly where reads lacks 'language'",
        )
    if not isinstance(getattr(module, "out_dim", None), int):
        raise CheckFailed("out_dim is not set to a whole number", "set self.out_dim in the constructor")
    return f"reads {_named(module.reads)}, listens to {module.listens}"


def registered(subject: Subject) -> str:
    """Every parameter and layer is registered: ``parameters()`` lists every trainable tensor of the graph."""
    module = subject.fresh()
    known = {id(parameter) for parameter in module.parameters()}
    for held in _held(module):
        layer = held.value
        hidden = isinstance(layer, nn.Module) and any(id(part) not in known for part in layer.parameters())
        if hidden or (isinstance(layer, Tensor) and layer.requires_grad and id(layer) not in known):
            raise CheckFailed(
                f"{held.path} holds parameters that parameters() does not list; no optimiser trains them",
                "use nn.ModuleList, nn.ParameterList or nn.Parameter as an attribute of its own",
            )
    for leaf in _leaves(module(image(dtype=torch.float32), language(dtype=torch.float32))):
        if id(leaf) not in known:
            raise CheckFailed(
                f"the output depends on a trainable tensor {tuple(leaf.shape)} that parameters() does not list",
                "make it an nn.Parameter of the module",
            )
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{count} numbers in {len(known)} parameters"


def saved(subject: Subject) -> str:
    """A module restored from its saved state, or copied, computes the same output bit for bit."""
    module, inputs = subject.perturbed(), (image(), language())
    expected = module(*inputs)
    if not torch.equal(copy.deepcopy(module)(*inputs), expected):
        raise CheckFailed("a deep copy computes something else", "keep no reference to the original in it")
    other = subject.fresh(seed=99, dtype=torch.float64)
    other.load_state_dict(module.state_dict())
    if not torch.equal(other(*inputs), expected):
        raise CheckFailed(
            "a new module that loads the saved state computes something else",
            "draw what is random in the constructor into parameters or persistent buffers",
        )
    return ""


def moved(subject: Subject) -> str:
    """``.to`` moves every tensor, and forward creates tensors only on the device of its input."""
    module = subject.fresh()
    known = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    for held in _held(module):
        if isinstance(held.value, Tensor) and id(held.value) not in known:
            raise CheckFailed(
                f"{held.path} is a plain tensor, which .to() leaves where it is",
                "use register_buffer(..., persistent=False), or make it in forward from the input",
            )
    module.to("meta")
    try:
        out = module(image(dtype=torch.float32).to("meta"), language(dtype=torch.float32).to("meta"))
    except Exception as error:
        raise CheckFailed(
            f"on another device its forward raises {message_of(error)}",
            "make tensors in forward with the input's device: x.new_zeros(...), device=x.device",
        ) from error
    if out.device.type != "meta":
        raise CheckFailed(f"inputs on one device, output on {out.device}", "keep to the input's device")
    return ""


def width_scales(subject: Subject) -> str:
    """The argument named by ``width`` increases the cost of the module, so that a budget can be matched with it."""
    knob = subject.kind.width
    if knob is None:
        return "width is None: shown, never matched to a budget"
    steps = (knob.minimum, knob.minimum + 5 * knob.step)
    built = [subject.kind(VISUAL_DIM, LANGUAGE_DIM, **{knob.argument: value}) for value in steps]
    costs = [module.multiply_adds(VISUAL_DIM, LANGUAGE_DIM, 4, 6, WORDS) for module in built]
    sizes = [sum(parameter.numel() for parameter in module.parameters()) for module in built]
    if not (costs[0] < costs[1] and sizes[0] < sizes[1]):
        raise CheckFailed(
            f"{knob.argument} from {steps[0]} to {steps[1]} takes multiply-adds from {costs[0]} to {costs[1]} "
            f"and parameters from {sizes[0]} to {sizes[1]}",
            "name an argument that scales both, or declare width = None",
        )
    return f"{knob.argument} from {steps[0]}, in steps of {knob.step}"


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor or layer in an attribute that torch does not register."""

    path: str
    value: Tensor | nn.Module


def _held(module: nn.Module) -> Iterator[Held]:
    for name, layer in module.named_modules():
        for key, value in vars(layer).items():
            if key not in _OWN:
                yield from _inside(value, f"{name}.{key}" if name else key, depth=3)


def _inside(value: Any, path: str, depth: int) -> Iterator[Held]:
    if isinstance(value, (Tensor, nn.Module)):
        yield Held(path, value)
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(item, f"{path}[{key!r}]", depth - 1)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield from _inside(item, f"{path}[{index}]", depth - 1)


def _leaves(out: Tensor) -> Iterator[Tensor]:
    """Yield the leaf tensors of the graph of ``out``."""
    waiting, seen = [out.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting.extend(following for following, _ in node.next_functions)


def _named(reads: frozenset[str]) -> str:
    return " and ".join(sorted(reads)) or "nothing"
