"""MAC: a control that reads the words and a memory that reads the image, for a fixed number of steps.

Hudson, Manning, "Compositional Attention Networks for Machine Reasoning", ICLR 2018 (arXiv 1803.03067).

Step ``i`` of ``p``, with every weight but ``U_i`` shared by the steps:

    control   c'_i = W_c [c_{i-1}; U_i q]
              c_i  = sum_s softmax_s( w_c . (c'_i * y_s) ) y_s                        over the real words
    read      I_x  = (W_m m_{i-1}) * (W_k k_x)
              J_x  = W_j [I_x; k_x]
              r_i  = sum_x softmax_x( w_r . (c_i * J_x) ) k_x                         over positions
    write     n_i  = W_n [r_i; m_{i-1}]
              n_i <- W_s sum_{j<i} softmax_j( w_s . (c_i * c_j) ) m_j + W_p n_i       if self_attention
              m_i  = n_i,  or  g m_{i-1} + (1 - g) n_i  with  g = sigmoid(w_g . c_i)  if gate

Symbols: ``q`` the sentence ``[B, D]``, ``y_s`` the words, ``k_x`` the positions of the map, both brought to
``d`` channels; ``*`` is elementwise. Layers have biases, except those whose bias a softmax would cancel: ``w_c``,
``w_r``, ``w_s``, ``W_k`` and ``W_j``.

The equations are the paper's. The authors' released code has, beyond them, an ELU and a second linear layer
around ``J`` and ``c * J``, and a gate that multiplies the *new* memory, with 1 added to its logit; that start is
kept as a bias of -1 in the paper's orientation. Fixed here: the attention over positions is one number a position
(the equation's matrix is read as a row); ``sum_{j<i}`` begins with the learned ``c_0`` and ``m_0``; the authors'
two 3x3 convolutions over the backbone's map become one 1x1 convolution with their ELU, since the slot has a
projection of its own.

The paper answers from the vector ``[m_p; q]``. It returns to a map by meeting the positions as in the read unit:

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
    """A MAC network of ``steps`` cells.

    It reads the words and, for ``U_i q`` and the output, the sentence vector.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        dim: ``d``, the width of control and memory (the paper: 512); None keeps ``C``.
        steps: ``p``, the number of cells (the authors train 4 to 16 on CLEVR).
        self_attention: the write unit looks back at all earlier steps.
        gate: the control decides how much of the old memory stays.
        dropout: on the memory that is read with, one mask for all steps, and on ``c * J``.

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
        """Width, steps, both options of the write unit and dropout."""
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
        met = torch.cat((knowledge, memory[:, :, None, None] * knowledge), dim=1)  # [B, 2 d, H, W]
        answer = self.answer(torch.cat((memory, language.sentence), dim=1))  # [B, C]
        return F.elu(self.positions(met) + answer[:, :, None, None])

    def _reason(self, knowledge: Tensor, language: Language) -> Tensor:
        """The last memory ``[B, d]`` over ``knowledge`` ``[B, N, d]``."""
        batch = knowledge.shape[0]
        words = self.words(real_words(language))  # [B, T, d]
        controls = [self.first_control.expand(batch, -1)]  # each [B, d]
        memories = [self.first_memory.expand(batch, -1)]
        keep = F.dropout(torch.ones_like(memories[0]), self.dropout, self.training)
        views = self.read.views(knowledge)
        for step in range(self.steps):
            control = self.control(step, controls[-1], words, language)
            information = self.read(memories[-1] * keep, control, knowledge, views)
            memories.append(self.write(information, control, controls, memories))
            controls.append(control)
        return memories[-1]


class ControlUnit(nn.Module):
    """Chooses what to do next: attention over the words."""

    def __init__(self, language_dim: int, dim: int, steps: int) -> None:
        super().__init__()
        self.position = nn.ModuleList(nn.Linear(language_dim, dim) for _ in range(steps))
        self.merge = nn.Linear(2 * dim, dim)
        self.weigh = nn.Linear(dim, 1, bias=False)

    def forward(self, step: int, previous: Tensor, words: Tensor, language: Language) -> Tensor:
        """``c_i`` ``[B, d]`` from ``c_{i-1}`` ``[B, d]`` and ``words`` ``[B, T, d]``."""
        asked = self.merge(torch.cat((previous, self.position[step](language.sentence)), dim=1))  # [B, d]
        logits = self.weigh(asked[:, None] * words).squeeze(2)  # [B, T]
        attention = logits.masked_fill(~language.mask, -torch.inf).softmax(dim=1)
        chosen: Tensor = attention[:, None] @ words  # [B, 1, d]
        return chosen.squeeze(1)


class ReadUnit(nn.Module):
    """Fetches from the image what memory and control ask for: attention over positions.

    ``W_j [I; k]`` is written as its two halves, so that what depends on ``k`` alone is computed once for all
    steps.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.memory = nn.Linear(dim, dim)
        self.knowledge = nn.Linear(dim, dim, bias=False)
        self.joint_interaction = nn.Linear(dim, dim, bias=False)
        self.joint_knowledge = nn.Linear(dim, dim, bias=False)
        self.weigh = nn.Linear(dim, 1, bias=False)

    def views(self, knowledge: Tensor) -> tuple[Tensor, Tensor]:
        """``W_k k`` and the half of ``W_j [I; k]`` that reads ``k``, both ``[B, N, d]``."""
        return self.knowledge(knowledge), self.joint_knowledge(knowledge)

    def forward(
        self, memory: Tensor, control: Tensor, knowledge: Tensor, views: tuple[Tensor, Tensor]
    ) -> Tensor:
        """``r_i`` ``[B, d]``."""
        interaction = self.memory(memory)[:, None] * views[0]  # [B, N, d]
        joint = self.joint_interaction(interaction) + views[1]
        wanted = F.dropout(control[:, None] * joint, self.dropout, self.training)
        attention = self.weigh(wanted).softmax(dim=1)  # [B, N, 1]
        fetched: Tensor = attention.transpose(1, 2) @ knowledge  # [B, 1, d]
        return fetched.squeeze(1)


class WriteUnit(nn.Module):
    """Brings what was read into the memory."""

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
            nn.init.constant_(self.gate.bias, -1.0)  # begins by favouring the new memory

    def forward(
        self, information: Tensor, control: Tensor, controls: list[Tensor], memories: list[Tensor]
    ) -> Tensor:
        """``m_i`` ``[B, d]`` from ``r_i``, ``c_i`` and all controls and memories before."""
        new: Tensor = self.merge(torch.cat((information, memories[-1]), dim=1))
        if self.self_attention:
            past = torch.stack(controls, dim=1)  # [B, i, d]
            attention = self.relate(control[:, None] * past).softmax(dim=1)  # [B, i, 1]
            recalled = (attention * torch.stack(memories, dim=1)).sum(dim=1)  # [B, d]
            new = self.past(recalled) + self.present(new)
        if self.gated:
            stays = torch.sigmoid(self.gate(control))  # [B, 1]
            new = stays * memories[-1] + (1 - stays) * new
        return new
