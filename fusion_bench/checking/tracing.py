"""Checks of a forward pass for compilers: no data-dependent values, one graph, an exported program."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from fusion_bench.checking.subject import CheckFailed, Subject, image, language, require_same
from fusion_bench.contract import Language
from fusion_bench.foreign import message_of


def host_sync(subject: Subject) -> str:
    """No step reads a value from the device: the forward runs on tensors with shapes and without values."""
    module, heard = subject.fresh(), language(dtype=torch.float32)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake: dict[str, torch.Tensor] = {
            name: mode.from_tensor(tensor.detach()) for name, tensor in state.items()
        }
        parts = (mode.from_tensor(part) for part in (heard.words, heard.mask, heard.sentence))
        inputs = (mode.from_tensor(image(dtype=torch.float32)), Language(*parts))
        try:
            functional_call(module, fake, inputs)
        except Exception as error:
            raise CheckFailed(
                f"its forward asks for a value: {message_of(error)}",
                "no .item(), .tolist(), .numpy(), no 'if' or loop on a tensor's values, no shape that depends on "
                "them: torch.where and masks say the same without waiting for the device",
            ) from error
    return ""


def compiles(subject: Subject) -> str:
    """``torch.compile(backend="eager", fullgraph=True)`` compiles it as one graph with the same output."""
    module, inputs = subject.perturbed(dtype=torch.float32), _inputs()
    try:
        with torch.no_grad():
            out = torch.compile(module, backend="eager", fullgraph=True)(*inputs)
    except Exception as error:
        raise CheckFailed(
            f"it does not compile into one graph: {message_of(error)}",
            "TORCH_LOGS=graph_breaks shows the line",
        ) from error
    finally:
        torch.compiler.reset()
    require_same(out, module(*inputs), "compiled, it computes something else", "no side effects in forward")
    return ""


def exports(subject: Subject) -> str:
    """``torch.export.export`` exports it, and the program computes the same output."""
    module, inputs = subject.perturbed(dtype=torch.float32), _inputs()
    try:
        with torch.no_grad():
            program = torch.export.export(module, inputs)
            out = program.module()(*inputs)
    except Exception as error:
        raise CheckFailed(
            f"it does not export: {message_of(error)}",
            "what compiles with fullgraph=True and keeps no state in forward exports",
        ) from error
    require_same(out, module(*inputs), "exported, it computes something else", "no side effects in forward")
    return ""


def _inputs() -> tuple[torch.Tensor, Language]:
    return image(dtype=torch.float32), language(dtype=torch.float32)
