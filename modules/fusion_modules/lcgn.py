"""LCGN: message passing on a complete graph of positions, conditioned on a textual command in each round.

Hu, Rohrbach, Darrell, Saenko, "Language-Conditioned Graph Networks for Relational Reasoning", ICCV 2019
(arXiv 1905.04405).

Round ``t`` of ``T``; all rounds share every weight except ``U_t``:

    c_t   = sum_s softmax_s( w . (U_t tanh(W q) * y_s) ) y_s                         over the real words
    z_i   = [l_i; x_i; (W_l l_i) * (W_x x_i)]
    E_ij  = softmax_j( (W_q z_i) . ((W_k z_j) * (W_ck c_t)) / sqrt(d) )
    x_i  <- W_u [x_i; sum_j E_ij ((W_v z_j) * (W_cv c_t))]

After the last round, ``out_i = W_o [l_i; x_i]``.

Symbols: ``l_i`` the local features of node ``i``, ``x_i`` its context, which starts at one learned vector; ``y_s``
the words and ``q`` the sentence ``[B, D]``; ``*`` is elementwise, ``d`` the width of all vectors. Layers have
biases, except ``w`` and ``W_k``, whose biases a softmax would cancel. ``tanh`` is the activation of the authors'
CLEVR model (their GQA model has ELU).

Choices of this module: nodes are positions, and as in the authors' CLEVR model a sine code of 128 channels is
appended to their features (the code is that of `fusion_modules.position`). The stem is one 1x1 convolution with
ELU instead of two 3x3 convolutions, because the slot has a projection of its own, and its output is not scaled to
length 1 (the authors' two models do this in different places). Words are projected to ``d`` channels once.
In a map of more than ``positions`` positions, the nodes are the positions of a pooled grid, because the cost grows
with the square of their number. The result returns to a map by the paper's last equation at every position, with
the position's own ``l`` and the context of the grid positions that overlap it. For a map that is small enough, the
graph is exactly the paper's.
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
from fusion_modules.grid_pooling import pool_to_grid, spread_from_grid
from fusion_modules.position import sine_position_code


class LCGN(FusionModule):
    """Message passing between positions, with one textual command per round.

    The module reads the words and, for the commands, the sentence vector.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        dim: ``d``, the width of nodes, commands and output (the paper: 512); None keeps ``C``.
        rounds: ``T``.
        position_dim: channels of the appended position code, a multiple of 4.
        dropout: dropout probability on the contexts, with one mask for all rounds, and on both factors of
            ``(W_l l) * (W_x x)``.
        positions: the largest number of nodes; a larger map is pooled to it.

    Raises:
        ValueError: ``rounds`` or ``positions`` is not positive, or ``position_dim`` not a multiple of 4.
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
        """The width, the number of rounds and dropout."""
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
        positions: int = 36,
    ) -> None:
        super().__init__()
        if rounds < 1 or positions < 1 or position_dim < 4 or position_dim % 4:
            raise ValueError(
                f"LCGN: rounds ({rounds}) and positions ({positions}) must be at least 1, "
                f"and position_dim ({position_dim}) must be a multiple of 4"
            )
        dim = dim or visual_dim
        self.out_dim = dim
        self.position_dim, self.dropout, self.positions = position_dim, dropout, positions
        self.stem = nn.Conv2d(visual_dim + position_dim, dim, 1)
        self.first_context = nn.Parameter(torch.randn(dim))
        self.command = TextualCommand(language_dim, dim, rounds)
        self.messages = MessagePassing(dim, dropout)
        self.combine = nn.Conv2d(2 * dim, dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, d, H, W]``."""
        height, width = visual.shape[2:]
        code = sine_position_code(visual.new_empty(1, self.position_dim, height, width))  # [P, H, W]
        located = torch.cat((visual, code.expand(visual.shape[0], -1, -1, -1)), dim=1)  # [B, C + P, H, W]
        local = F.elu(self.stem(located))  # [B, d, H, W]
        pooled = pool_to_grid(local, self.positions)  # [B, d, h, w]
        context = self._pass_messages(as_tokens(pooled), language)  # [B, N, d]
        spread = spread_from_grid(as_map(context, pooled), height, width)  # [B, d, H, W]
        return self.combine(torch.cat((local, spread), dim=1))  # type: ignore[no-any-return]

    def _pass_messages(self, local: Tensor, language: Language) -> Tensor:
        """Return the contexts ``[B, N, d]`` of nodes ``[B, N, d]`` after the last round."""
        context = self.first_context.expand_as(local)  # [B, N, d]
        mask = F.dropout(torch.ones_like(local), self.dropout, self.training)  # [B, N, d]
        for command in self.command(language):
            context = self.messages(local, context * mask, command)
        return context


class TextualCommand(nn.Module):
    """One command per round: attention over the words, with a query from the sentence.

    Args:
        language_dim: ``D``.
        dim: ``d``.
        rounds: ``T``.
    """

    def __init__(self, language_dim: int, dim: int, rounds: int) -> None:
        super().__init__()
        self.words = nn.Linear(language_dim, dim)
        self.sentence = nn.Linear(language_dim, dim)
        self.of_round = nn.ModuleList(nn.Linear(dim, dim) for _ in range(rounds))
        self.weigh = nn.Linear(dim, 1, bias=False)

    def forward(self, language: Language) -> list[Tensor]:
        """Return ``c_1 ... c_T``, each ``[B, d]``."""
        words = self.words(real_words(language))  # [B, T, d]
        sentence = torch.tanh(self.sentence(language.sentence))  # [B, d]
        commands = []
        for layer in self.of_round:
            logits = self.weigh(layer(sentence)[:, None] * words).squeeze(2)  # [B, T]
            attention = logits.masked_fill(~language.mask, -torch.inf).softmax(dim=1)  # [B, T]
            commands.append((attention[:, None] @ words).squeeze(1))  # [B, d]
        return commands


class MessagePassing(nn.Module):
    """One round of messages: every node attends to all nodes, with keys and values scaled by the command.

    Args:
        dim: ``d``.
        dropout: dropout probability on both factors of ``(W_l l) * (W_x x)``.
    """

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
        """Nodes ``[B, N, d]``, contexts ``[B, N, d]``, command ``[B, d]`` -> new contexts ``[B, N, d]``."""
        product = self.local(self._drop(local)) * self.context(self._drop(context))  # [B, N, d]
        node = torch.cat((local, context, product), dim=2)  # [B, N, 3 d]
        key = self.key(node) * self.command_key(command)[:, None]  # [B, N, d]
        value = self.value(node) * self.command_value(command)[:, None]  # [B, N, d]
        edges = (self.query(node) @ key.transpose(1, 2) * self.scale).softmax(dim=2)  # [B, N, N]
        return self.update(torch.cat((context, edges @ value), dim=2))  # type: ignore[no-any-return]

    def _drop(self, nodes: Tensor) -> Tensor:
        return F.dropout(nodes, self.dropout, self.training)
