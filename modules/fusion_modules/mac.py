"""MAC: a control state attends to the words and a memory attends to the image, for a fixed number of steps.

Hudson, Manning, "Compositional Attention Networks for Machine Reasoning", ICLR 2018 (arXiv 1803.03067).

Step ``i`` of ``p``; all steps share every weight except ``U_i``:

    control   c'_i = W_c [c_{i-1}; U_i q]
              c_i  = sum_s softmax_s( w_c . (c'_i * y_s) ) y_s                        over the real words
    read      I_x  = (W_m m_{i-1}) * (W_k k_x)
              J_x  = W_j [I_x; k_x]
              r_i  = sum_x softmax_x( w_r . (c_i * J_x) ) k_x                         over positions
    write     n_i  = W_n [r_i; m_{i-1}]
              n_i <- W_s sum_{j<i} softmax_j( w_s . (c_i * c_j) ) m_j + W_p n_i       if self_attention
              m_i  = n_i,  or  g m_{i-1} + (1 - g) n_i  with  g = sigmoid(w_g . c_i)  if gate

Symbols: ``q`` the sentence ``[B, D]``, ``y_s`` the words, ``k_x`` the positions of the map, both projected to
``d`` channels; ``*`` is elementwise. Layers have biases, except those whose bias a softmax would cancel: ``w_c``,
``w_r``, ``w_s``, ``W_k`` and ``W_j``. The paper calls one step with its three units a "MAC cell"; this file says
"step".

The equations are the paper's. The authors' released code differs: it has an ELU and a second linear layer around
``J`` and ``c * J``, and its gate multiplies the *new* memory, with 1 added to the logit. This module starts from
the same gate: a bias of -1 in the paper's orientation. Choices of this module: the attention over positions has
one logit per position (the matrix in the equation is read as a row); ``sum_{j<i}`` begins with the learned ``c_0``
and ``m_0``; one 1x1 convolution with the authors' ELU replaces their two 3x3 convolutions over the backbone's map,
because the slot has a projection of its own.

The paper predicts the answer from the vector ``[m_p; q]``. Here this vector returns to a map by being combined with
every position as in the read unit:

    out_x = ELU( W_o [k_x; m_p * k_x] + W_a [m_p; q] )
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    Float,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.attention import as_tokens, real_words


class MAC(FusionModule):
    """A MAC network: a fixed number of steps of control, read and write over words and positions.

    The module reads the words and, for ``U_i q`` and the output, the sentence vector.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        dim: ``d``, the width of control and memory (the paper: 512); None keeps ``C``.
        steps: ``p``, the number of steps (the authors use 4 to 16 on CLEVR).
        self_attention: the write unit attends to the memories of all earlier steps.
        gate: the control state decides how much of the old memory is kept.
        dropout: dropout probability on the memory that the read unit receives, with one mask for all steps, and on
            ``c * J``.

    Raises:
        ValueError: ``steps`` is not positive.
    """

    citation: ClassVar[Citation] = Citation(
        "Compositional Attention Networks for Machine Reasoning",
        "Hudson and Manning",
        "ICLR",
        2018,
        "https://arxiv.org/abs/1803.03067",
    )
    width: ClassVar[Width | None] = Width("dim", step=2, minimum=4)
    listens: ClassVar[Listens] = "both"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width, the number of steps, both options of the write unit and dropout."""
        del language_dim
        return {
            "dim": Int(max(4, visual_dim // 2), 4 * visual_dim, log=True),
            "steps": Int(2, 16),
            "self_attention": Choice((False, True)),
            "gate": Choice((False, True)),
            "dropout": Float(0.0, 0.3),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        dim: int | None = None,
        steps: int = 12,
        self_attention: bool = False,
        gate: bool = False,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"MAC: steps must be at least 1, not {steps}")
        dim = dim or visual_dim
        self.out_dim = visual_dim
        self.steps, self.dropout = steps, dropout
        self.words = nn.Linear(language_dim, dim)
        self.knowledge = nn.Conv2d(visual_dim, dim, 1)
        self.first_control = nn.Parameter(torch.randn(dim))
        self.first_memory = nn.Parameter(torch.randn(dim))
        self.control = ControlUnit(language_dim, dim, steps)
        self.read = ReadUnit(dim, dropout)
        self.write = WriteUnit(dim, self_attention=self_attention, gate=gate)
        self.positions = nn.Conv2d(2 * dim, visual_dim, 1)
        self.answer = nn.Linear(dim + language_dim, visual_dim, bias=False)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        knowledge = F.elu(self.knowledge(visual))  # [B, d, H, W]
        memory = self._reason(as_tokens(knowledge), language)  # [B, d]
        joined = torch.cat((knowledge, memory[:, :, None, None] * knowledge), dim=1)  # [B, 2 d, H, W]
        answer = self.answer(torch.cat((memory, language.sentence), dim=1))  # [B, C]
        return F.elu(self.positions(joined) + answer[:, :, None, None])  # [B, C, H, W]

    def _reason(self, knowledge: Tensor, language: Language) -> Tensor:
        """Return the memory ``[B, d]`` after the last step, given ``knowledge`` ``[B, N, d]``."""
        batch = knowledge.shape[0]
        words = self.words(real_words(language))  # [B, T, d]
        controls = [self.first_control.expand(batch, -1)]  # each [B, d]
        memories = [self.first_memory.expand(batch, -1)]
        mask = F.dropout(torch.ones_like(memories[0]), self.dropout, self.training)  # [B, d]
        projections = self.read.project(knowledge)  # each [B, N, d]
        for step in range(self.steps):
            control = self.control(step, controls[-1], words, language)  # [B, d]
            information = self.read(memories[-1] * mask, control, knowledge, projections)  # [B, d]
            memories.append(self.write(information, control, controls, memories))
            controls.append(control)
        return memories[-1]


class ControlUnit(nn.Module):
    """The control unit: attention over the words selects the operation of a step.

    Args:
        language_dim: ``D``.
        dim: ``d``.
        steps: ``p``.
    """

    def __init__(self, language_dim: int, dim: int, steps: int) -> None:
        super().__init__()
        self.position = nn.ModuleList(nn.Linear(language_dim, dim) for _ in range(steps))
        self.merge = nn.Linear(2 * dim, dim)
        self.weigh = nn.Linear(dim, 1, bias=False)

    def forward(self, step: int, previous: Tensor, words: Tensor, language: Language) -> Tensor:
        """Return ``c_i`` ``[B, d]`` from ``c_{i-1}`` ``[B, d]`` and ``words`` ``[B, T, d]``."""
        query = self.merge(torch.cat((previous, self.position[step](language.sentence)), dim=1))  # [B, d]
        logits = self.weigh(query[:, None] * words).squeeze(2)  # [B, T]
        attention = logits.masked_fill(~language.mask, -torch.inf).softmax(dim=1)  # [B, T]
        attended: Tensor = attention[:, None] @ words  # [B, 1, d]
        return attended.squeeze(1)


class ReadUnit(nn.Module):
    """The read unit: attention over positions, given the memory and the control state.

    The code splits ``W_j`` of ``W_j [I; k]`` into its two halves, so that the part that depends on ``k`` alone is
    computed once for all steps.

    Args:
        dim: ``d``.
        dropout: dropout probability on ``c * J``.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.memory = nn.Linear(dim, dim)
        self.knowledge = nn.Linear(dim, dim, bias=False)
        self.joint_interaction = nn.Linear(dim, dim, bias=False)
        self.joint_knowledge = nn.Linear(dim, dim, bias=False)
        self.weigh = nn.Linear(dim, 1, bias=False)

    def project(self, knowledge: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``W_k k`` and the part of ``W_j [I; k]`` that depends on ``k``, both ``[B, N, d]``."""
        return self.knowledge(knowledge), self.joint_knowledge(knowledge)

    def forward(
        self, memory: Tensor, control: Tensor, knowledge: Tensor, projections: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return ``r_i`` ``[B, d]`` from ``m_{i-1}``, ``c_i``, ``k`` ``[B, N, d]`` and the result of `project`."""
        interaction = self.memory(memory)[:, None] * projections[0]  # [B, N, d]
        joint = self.joint_interaction(interaction) + projections[1]  # [B, N, d]
        selected = F.dropout(control[:, None] * joint, self.dropout, self.training)  # [B, N, d]
        attention = self.weigh(selected).softmax(dim=1)  # [B, N, 1]
        retrieved: Tensor = attention.transpose(1, 2) @ knowledge  # [B, 1, d]
        return retrieved.squeeze(1)


class WriteUnit(nn.Module):
    """The write unit: merges the retrieved information into the memory.

    Args:
        dim: ``d``.
        self_attention: attend to the memories of all earlier steps.
        gate: mix the old and the new memory.
    """

    def __init__(self, dim: int, *, self_attention: bool, gate: bool) -> None:
        super().__init__()
        self.merge = nn.Linear(2 * dim, dim)
        self.self_attention, self.gated = self_attention, gate
        if self_attention:
            self.relate = nn.Linear(dim, 1, bias=False)
            self.past = nn.Linear(dim, dim, bias=False)
            self.present = nn.Linear(dim, dim)
        if gate:
            self.gate = nn.Linear(dim, 1)
            nn.init.constant_(self.gate.bias, -1.0)  # starts with more weight on the new memory

    def forward(
        self, information: Tensor, control: Tensor, controls: list[Tensor], memories: list[Tensor]
    ) -> Tensor:
        """Return ``m_i`` ``[B, d]`` from ``r_i``, ``c_i`` and all earlier control states and memories."""
        new: Tensor = self.merge(torch.cat((information, memories[-1]), dim=1))  # [B, d]
        if self.self_attention:
            past = torch.stack(controls, dim=1)  # [B, i, d]
            attention = self.relate(control[:, None] * past).softmax(dim=1)  # [B, i, 1]
            recalled = (attention * torch.stack(memories, dim=1)).sum(dim=1)  # [B, d]
            new = self.past(recalled) + self.present(new)  # [B, d]
        if self.gated:
            kept = torch.sigmoid(self.gate(control))  # [B, 1]
            new = kept * memories[-1] + (1 - kept) * new
        return new
