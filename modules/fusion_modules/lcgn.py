"""LCGN: nodes of a complete graph send each other messages that a textual command chooses, round by round.

Hu, Rohrbach, Darrell, Saenko, "Language-Conditioned Graph Networks for Relational Reasoning", ICCV 2019
(arXiv 1905.04405).

Round ``t`` of ``T``, with every weight but ``U_t`` shared by the rounds:

    c_t   = sum_s softmax_s( w . (U_t tanh(W q) * y_s) ) y_s                         over the real words
    z_i   = [l_i; x_i; (W_l l_i) * (W_x x_i)]
    E_ij  = softmax_j( (W_q z_i) . ((W_k z_j) * (W_ck c_t)) / sqrt(d) )
    x_i  <- W_u [x_i; sum_j E_ij ((W_v z_j) * (W_cv c_t))]

and after the last round ``out_i = W_o [l_i; x_i]``.

Symbols: ``l_i`` what node ``i`` looks like, ``x_i`` its context, which starts at one learned vector; ``y_s`` the
words and ``q`` the sentence ``[B, D]``; ``*`` is elementwise, ``d`` the width of all. Layers have biases, except
``w`` and ``W_k``, whose biases a softmax would cancel. ``tanh`` is the activation of the authors' CLEVR model
(their GQA model has ELU).

Fixed here: nodes are positions, and as in the authors' CLEVR model a sine code of 128 channels is appended to
their features (the project's own code, from `fusion_modules.position`); the stem is one 1x1 convolution with ELU
in place of two 3x3 ones, since the slot has a projection of its own, and what leaves it is not scaled to length 1
(their two models do this in different places); words are brought to ``d`` channels once.
A map of more than ``cells`` positions sends messages between pooled cells, since the cost grows with the square
of their number. It returns to a map by the paper's own last equation at every position, with the position's own
``l`` and the context of the cells that cover it; a map that is small enough is the paper's graph exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
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
from fusion_modules.attention import as_map, as_tokens, real_words
from fusion_modules.grid_pooling import pool_to_cells, spread_from_cells
from fusion_modules.position import sine_position_code


class LCGN(FusionModule):
    """Message passing between at most ``cells`` cells under ``rounds`` textual commands.

    It reads the words and, for the commands, the sentence vector.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        dim: ``d``, the width of nodes, commands and output (the paper: 512); None keeps ``C``.
        rounds: ``T``.
        position_dim: channels of the appended position code, a multiple of 4.
        dropout: on the contexts, one mask for all rounds, and on both factors of ``(W_l l) * (W_x x)``.
        cells: the most cells that send messages.

    Raises:
        ValueError: ``rounds`` or ``cells`` is not positive, or ``position_dim`` not a multiple of 4.
    """

    citation: ClassVar[Citation] = Citation(
        "Language-Conditioned Graph Networks for Relational Reasoning",
        "Hu et al.",
        "ICCV",
        2019,
        "https://arxiv.org/abs/1905.04405",
    )
    width: ClassVar[Width | None] = Width("dim", step=2, minimum=4)
    listens: ClassVar[Listens] = "both"
    position_code: ClassVar[PositionCode] = "sine"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """Width, rounds and dropout."""
        del language_dim
        return {
            "dim": Int(max(4, visual_dim // 2), 4 * visual_dim, log=True),
            "rounds": Int(1, 6),
            "dropout": Float(0.0, 0.3),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        dim: int | None = None,
        rounds: int = 4,
        position_dim: int = 128,
        dropout: float = 0.15,
        cells: int = 36,
    ) -> None:
        super().__init__()
        if rounds < 1 or cells < 1 or position_dim < 4 or position_dim % 4:
            raise ValueError(
                f"LCGN: rounds ({rounds}) and cells ({cells}) must be at least 1, "
                f"position_dim ({position_dim}) a multiple of 4"
            )
        dim = dim or visual_dim
        self.out_dim = dim
        self.position_dim, self.dropout, self.cells = position_dim, dropout, cells
        self.stem = nn.Conv2d(visual_dim + position_dim, dim, 1)
        self.first_context = nn.Parameter(torch.randn(dim))
        self.command = TextualCommand(language_dim, dim, rounds)
        self.messages = MessagePassing(dim, dropout)
        self.combine = nn.Conv2d(2 * dim, dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, d, H, W]``."""
        height, width = visual.shape[2:]
        code = sine_position_code(visual.new_empty(1, self.position_dim, height, width))
        located = torch.cat((visual, code.expand(visual.shape[0], -1, -1, -1)), dim=1)  # [B, C + P, H, W]
        local = F.elu(self.stem(located))  # [B, d, H, W]
        pooled = pool_to_cells(local, self.cells)  # [B, d, h, w]
        context = self._pass_messages(as_tokens(pooled), language)  # [B, N, d]
        spread = spread_from_cells(as_map(context, pooled), height, width)  # [B, d, H, W]
        return self.combine(torch.cat((local, spread), dim=1))  # type: ignore[no-any-return]

    def _pass_messages(self, local: Tensor, language: Language) -> Tensor:
        """The contexts ``[B, N, d]`` of nodes ``[B, N, d]`` after the last round."""
        context = self.first_context.expand_as(local)
        keep = F.dropout(torch.ones_like(local), self.dropout, self.training)
        for command in self.command(language):
            context = self.messages(local, context * keep, command)
        return context


class TextualCommand(nn.Module):
    """One command a round: attention over the words, asked by the sentence."""

    def __init__(self, language_dim: int, dim: int, rounds: int) -> None:
        super().__init__()
        self.words = nn.Linear(language_dim, dim)
        self.sentence = nn.Linear(language_dim, dim)
        self.of_round = nn.ModuleList(nn.Linear(dim, dim) for _ in range(rounds))
        self.weigh = nn.Linear(dim, 1, bias=False)

    def forward(self, language: Language) -> list[Tensor]:
        """``c_1 ... c_T``, each ``[B, d]``."""
        words = self.words(real_words(language))  # [B, T, d]
        sentence = torch.tanh(self.sentence(language.sentence))  # [B, d]
        commands = []
        for layer in self.of_round:
            logits = self.weigh(layer(sentence)[:, None] * words).squeeze(2)  # [B, T]
            attention = logits.masked_fill(~language.mask, -torch.inf).softmax(dim=1)
            commands.append((attention[:, None] @ words).squeeze(1))
        return commands


class MessagePassing(nn.Module):
    """One round: every node hears the nodes that the command makes relevant to it."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.scale, self.dropout = dim**-0.5, dropout
        self.local = nn.Linear(dim, dim)
        self.context = nn.Linear(dim, dim)
        self.query = nn.Linear(3 * dim, dim)
        self.key = nn.Linear(3 * dim, dim, bias=False)
        self.value = nn.Linear(3 * dim, dim)
        self.command_key = nn.Linear(dim, dim)
        self.command_value = nn.Linear(dim, dim)
        self.update = nn.Linear(2 * dim, dim)

    def forward(self, local: Tensor, context: Tensor, command: Tensor) -> Tensor:
        """New contexts ``[B, N, d]`` from nodes ``[B, N, d]``, contexts and a command ``[B, d]``."""
        product = self.local(self._drop(local)) * self.context(self._drop(context))
        node = torch.cat((local, context, product), dim=2)  # [B, N, 3 d]
        key = self.key(node) * self.command_key(command)[:, None]  # [B, N, d]
        value = self.value(node) * self.command_value(command)[:, None]
        edges = (self.query(node) @ key.transpose(1, 2) * self.scale).softmax(dim=2)  # [B, N, N]
        return self.update(torch.cat((context, edges @ value), dim=2))  # type: ignore[no-any-return]

    def _drop(self, nodes: Tensor) -> Tensor:
        return F.dropout(nodes, self.dropout, self.training)
