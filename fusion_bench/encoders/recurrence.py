"""The recurrence of a gated recurrent unit over sentences of unequal length, in one or two directions at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def gru_states(gru: nn.GRU, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states of every word ``[B, T, N H]`` and the last state of each direction ``[N, B, H]``.

    The values are those of ``gru`` on packed sentences: padding, which follows the real words, changes no state, and
    its own states are 0. Packing reads the lengths on the host, for which a GPU must be waited for, and records every
    step for the backward pass. Here both directions share each step, and the backward pass is written out.

    Args:
        gru: one layer with biases, in ``N`` = 1 or 2 directions.
        vectors: the word vectors ``[B, T, E]``.
        mask: ``[B, T]``, True where a real word stands.
    """
    names = ["l0", "l0_reverse"] if gru.bidirectional else ["l0"]
    steps, real = vectors.transpose(0, 1), mask.t()  # [T, B, E], [T, B]
    inputs = torch.stack(
        [
            F.linear(words, getattr(gru, f"weight_ih_{name}"), getattr(gru, f"bias_ih_{name}"))
            for name, words in zip(names, (steps, steps.flip(0)), strict=False)
        ],
        1,
    )  # [T, N, B, 3 H], each direction in the order in which it reads
    states = _Recurrence.apply(
        inputs,
        torch.stack([real, real.flip(0)][: len(names)], 1),
        torch.stack([getattr(gru, f"weight_hh_{name}") for name in names]),
        torch.stack([getattr(gru, f"bias_hh_{name}") for name in names]),
    )  # [T, N, B, H]
    in_order = [states[:, 0], *(states[:, 1:].flip(0).unbind(1))]
    words = torch.cat(in_order, 2).transpose(0, 1) * mask[..., None]  # [B, T, N H]
    return words, states[-1]


class _Recurrence(torch.autograd.Function):
    """The states ``h_t`` of a gated recurrent unit (Cho et al., EMNLP 2014), in the form of torch:

        r = sigmoid(i_r + W_r h + b_r),   z = sigmoid(i_z + W_z h + b_z),   s = W_n h + b_n,
        n = tanh(i_n + r s),              h_t = (1 - z) n + z h,            h = h_(t-1), h_0 = 0.

    At padding ``z`` is 1, so that the state and its gradient pass unchanged. ``r`` and ``z`` lie side by side and
    apart from ``n``, because element-wise work is slow on parts of rows.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, real: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the states ``[T, N, B, H]`` of ``N`` directions.

        Args:
            ctx: keeps what the backward pass needs.
            inputs: ``i`` ``[T, N, B, 3 H]``, in the order ``r``, ``z``, ``n``.
            real: ``[T, N, B]``, True where a real word stands.
            weight: ``W`` ``[N, 3 H, H]``.
            bias: ``b`` ``[N, 3 H]``.
        """
        hidden = weight.shape[2]
        sizes = (2 * hidden, hidden)
        of_gates, of_new = (part.transpose(1, 2).contiguous() for part in weight.split(sizes, 1))
        gate_bias, new_bias = (part[:, None] for part in bias.split(sizes, 1))
        gates = inputs[..., : 2 * hidden] + gate_bias  # i + b, then r and z
        new = inputs[..., 2 * hidden :].clone(memory_format=torch.contiguous_format)  # i, then n
        from_state = torch.empty_like(new)  # s
        states, before = torch.empty_like(new), torch.zeros_like(new[0])
        padding = ~real[..., None]
        for step in range(len(new)):
            both = gates[step]
            # With `out`, because torch's counter of multiply-adds does not know `baddbmm_`.
            torch.baddbmm(both, before, of_gates, out=both)
            reset, update = both.sigmoid_().split(hidden, 2)
            update.masked_fill_(padding[step], 1)
            torch.baddbmm(new_bias, before, of_new, out=from_state[step])
            new[step].addcmul_(reset, from_state[step]).tanh_()
            before = torch.lerp(new[step], before, update, out=states[step])
        ctx.save_for_backward(gates, new, from_state, states, weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``inputs``, ``weight`` and ``bias`` for ``grad`` of the states."""
        gates, new, from_state, states, weight = ctx.saved_tensors
        hidden, before = weight.shape[2], F.pad(states[:-1], (0, 0, 0, 0, 0, 0, 1, 0))
        reset, update = gates.split(hidden, 3)
        # Derivatives before the squashing, for all steps at once: of n and z by h_t, and of r by n.
        by_new = (1 - update) * (1 - new * new)
        by_update = (before - new) * update * (1 - update)
        by_reset = from_state * reset * (1 - reset)
        grad_products = gates.new_empty(*new.shape[:3], 3 * hidden)  # of W h + b
        of_reset, of_update, of_state = grad_products.split(hidden, 3)
        of_new = torch.empty_like(new)
        carried = torch.zeros_like(new[0])
        for step in range(len(new) - 1, -1, -1):
            total = grad[step] + carried  # of h_t
            torch.mul(total, by_new[step], out=of_new[step])
            torch.mul(total, by_update[step], out=of_update[step])
            torch.mul(of_new[step], by_reset[step], out=of_reset[step])
            torch.mul(of_new[step], reset[step], out=of_state[step])
            carried = torch.baddbmm(total.mul_(update[step]), grad_products[step], weight)
        grad_inputs = torch.cat([grad_products[..., : 2 * hidden], of_new], 3)
        rows = grad_products.transpose(0, 1).flatten(1, 2)  # [N, T B, 3 H]
        states_read = before.transpose(0, 1).flatten(1, 2)  # [N, T B, H]
        pairs = zip(rows, states_read, strict=True)  # two products: a batched one is slower on a CPU
        return grad_inputs, None, torch.stack([one.t() @ other for one, other in pairs]), rows.sum(1)
