"""LaConvNet-S, derived a second time from published facts; the code shares nothing with the modules under test."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

STAGES = (
    # groups, packing, kernel sizes of LaConvNet-S
    (4, 8, (3, 5)),
    (4, 4, (7,)),
    (8, 2, (7, 7)),
    (8, 1, (7, 7, 7, 7)),
    (16, 1, (7,)),
)
HEADS = 8


class RederivedLaConvNetS:
    """LaConvNet-S by its published facts, with the authors' ``state_dict`` in float64."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.w = {name: value.double() for name, value in weights.items()}

    def affine(self, name: str, x: Tensor) -> Tensor:
        """Return the output of a linear layer or 1x1 convolution over the last axis."""
        weight = self.w[f"{name}.weight"].flatten(1)
        return x @ weight.T + self.w.get(f"{name}.bias", torch.zeros(len(weight), dtype=torch.float64))

    def pointwise(self, name: str, x: Tensor) -> Tensor:
        return self.affine(name, x.movedim(1, -1)).movedim(-1, 1)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (self.w[f"{name}.{part}"][:, None, None] for part in parts)
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def conv(self, name: str, x: Tensor, *, norm: str = "bn", stride: int = 1, dilation: int = 1) -> Tensor:
        """Return the output of a convolution and its batch norm."""
        weight = self.w[f"{name}.conv.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return self.batch_norm(f"{name}.{norm}", F.conv2d(x, weight, None, stride, padding, dilation))

    def silu_conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        y = self.conv(name, x, stride=stride)
        return y / (1 + torch.exp(-y))

    # Language

    def words(self, tokens: Tensor) -> Tensor:
        states = torch.stack([self.recurrent(row) for row in tokens])  # [B, T, 512]
        sa = "lang_encoder.sa_list.0"
        q, k, v = (
            self.affine(f"{sa}.mhatt.linear_{part}", states).view(*tokens.shape, HEADS, 64) for part in "qkv"
        )
        logits = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(64)
        logits = logits.masked_fill((tokens == 0)[:, None, None, :], -1e9)
        attended = torch.einsum("bhij,bjhd->bihd", logits.softmax(-1), v).flatten(2)
        y = self.layer_norm(f"{sa}.norm1", states + self.affine(f"{sa}.mhatt.linear_merge", attended))
        hidden = self.affine(f"{sa}.ffn.mlp.fc.linear", y).clamp(min=0)
        return self.layer_norm(f"{sa}.norm2", y + self.affine(f"{sa}.ffn.mlp.linear", hidden))

    def recurrent(self, row: Tensor) -> Tensor:
        """Return the states of a GRU over all tokens, including padding; the gates are r, z, n."""
        gru = "lang_encoder.lstm"
        state, states = torch.zeros(512, dtype=torch.float64), []
        for token in row:
            word = self.w["lang_encoder.embedding.weight"][token]
            from_word = self.w[f"{gru}.weight_ih_l0"] @ word + self.w[f"{gru}.bias_ih_l0"]
            from_state = self.w[f"{gru}.weight_hh_l0"] @ state + self.w[f"{gru}.bias_hh_l0"]
            reset, update = torch.sigmoid((from_word + from_state)[:1024]).chunk(2)
            new = torch.tanh(from_word[1024:] + reset * from_state[1024:])
            state = (1 - update) * new + update * state
            states.append(state)
        return torch.stack(states)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.pow(2).sum(-1, keepdim=True) / (x.shape[-1] - 1)).sqrt()
        return self.w[f"{name}.weight"] * centred / (deviation + 1e-6) + self.w[f"{name}.bias"]

    # Vision

    def features(self, images: Tensor, tokens: Tensor) -> list[Tensor]:
        words, pad = self.words(tokens), tokens == 0
        x, maps = self.silu_conv("visual_encoder.stem.conv", self.focus(images)), []
        for stage, (groups, packing, sizes) in enumerate(STAGES):
            name = f"visual_encoder.blocks.{stage}"
            if stage:
                x = self.silu_conv(f"{name}.0.conv", self.focus(x))
            for index, size in enumerate(sizes, start=1 if stage else 0):
                x = self.block(f"{name}.{index}", x, words, pad, groups, packing, size)
            maps.append(x)
        return maps

    def focus(self, x: Tensor) -> Tensor:
        """Return the quarters in the order top left, bottom left, top right, bottom right."""
        return torch.cat([x[:, :, dy::2, dx::2] for dx in (0, 1) for dy in (0, 1)], dim=1)

    def block(
        self, name: str, x: Tensor, words: Tensor, pad: Tensor, groups: int, packing: int, size: int
    ) -> Tensor:
        z = self.condition(f"{name}.cond_generator", x, words, pad, packing)
        kernels = self.pointwise(f"{name}.conv1.linear", z)  # [B, G k^2, H, W]
        channels, height, width = x.shape[1:]
        padded = F.pad(x, [size // 2] * 4)
        filtered = torch.zeros_like(x)
        for c in range(channels):
            for j in range(size**2):
                dy, dx = divmod(j, size)
                window = padded[:, c, dy : dy + height, dx : dx + width]
                filtered[:, c] += kernels[:, (c % groups) * size**2 + j] * window
        a = x + self.batch_norm(f"{name}.bn1", filtered)
        a = a * torch.sigmoid(a)
        hidden = self.batch_norm(f"{name}.block1.1", self.pointwise(f"{name}.block1.0", a))
        hidden = self.pointwise(f"{name}.block1.3", hidden * torch.sigmoid(hidden))
        out = a + self.batch_norm(f"{name}.block1.4", hidden)
        return out * torch.sigmoid(out)

    def condition(self, name: str, x: Tensor, words: Tensor, pad: Tensor, packing: int) -> Tensor:
        batch, _, height, width = x.shape
        located = x + self.position(*x.shape[1:])
        rows, columns = height // packing, width // packing
        squares = located.view(batch, -1, rows, packing, columns, packing)
        packed = squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)  # c, ty, tx
        q = self.affine(f"{name}.mha.linear_q", packed)
        k, v = (self.affine(f"{name}.mha.linear_{part}", words) for part in "kv")
        head = q.shape[-1] // HEADS
        q, k, v = (part.unflatten(-1, (HEADS, head)) for part in (q, k, v))
        logits = torch.einsum("bphd,bthd->bhpt", q, k) / math.sqrt(head)
        shares = logits.masked_fill(pad[:, None, None, :], -1e9).softmax(-1)
        attended = torch.einsum("bhpt,bthd->bphd", shares, v).flatten(2)
        merged = self.affine(f"{name}.mha.linear_merge", attended).clamp(min=0)  # [B, positions, E t^2]
        squares = merged.view(batch, rows, columns, -1, packing, packing)
        unpacked = squares.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height, width)
        return self.batch_norm(f"{name}.norm", unpacked).clamp(min=0)

    def position(self, channels: int, height: int, width: int) -> Tensor:
        code = torch.zeros(channels, height, width, dtype=torch.float64)
        half = channels // 2
        for i in range(half):
            frequency = 10000 ** (-2 * (i // 2) / half)
            wave = math.cos if i % 2 else math.sin
            for y in range(height):
                code[i, y, :] = wave((y + 1) * frequency)
            for x in range(width):
                code[half + i, :, x] = wave((x + 1) * frequency)
        return code

    # Necks and heads

    def cross_stage(self, name: str, x: Tensor) -> Tensor:
        through = self.silu_conv(f"{name}.conv1", x)
        for index in range(3):
            for step in (1, 2):
                through = self.silu_conv(f"{name}.m.{index}.conv{step}", through)
        around = self.silu_conv(f"{name}.conv2", x)
        return self.silu_conv(f"{name}.conv3", torch.cat((through, around), dim=1))

    def top_down(self, name: str, maps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = maps

        def twice(x: Tensor) -> Tensor:
            return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

        lateral = self.silu_conv(f"{name}.lateral_conv0", coarse)
        middle = self.cross_stage(f"{name}.C3_p4", torch.cat((twice(lateral), middle), dim=1))
        reduced = self.silu_conv(f"{name}.reduce_conv1", middle)
        fine = self.cross_stage(f"{name}.C3_p3", torch.cat((twice(reduced), fine), dim=1))
        return [fine, reduced, lateral]

    def neck(self, maps: list[Tensor]) -> list[Tensor]:
        name = "multi_scale_manner"
        fine, reduced, lateral = self.top_down(name, maps)
        up = self.silu_conv(f"{name}.bu_conv2", fine, stride=2)
        middle = self.cross_stage(f"{name}.C3_n3", torch.cat((up, reduced), dim=1))
        up = self.silu_conv(f"{name}.bu_conv1", middle, stride=2)
        coarse = self.cross_stage(f"{name}.C3_n4", torch.cat((up, lateral), dim=1))
        return [fine, middle, coarse]

    def box(self, coarse: Tensor) -> Tensor:
        x = self.silu_conv("head.stems.0", coarse)
        x = self.silu_conv("head.reg_convs.0.1", self.silu_conv("head.reg_convs.0.0", x))
        raw = self.pointwise("head.reg_preds.0", x)
        objectness = torch.sigmoid(self.pointwise("head.obj_preds.0", x))[:, 0]
        boxes = []
        for sample in range(len(x)):
            row, column = divmod(int(objectness[sample].argmax()), x.shape[3])
            p = raw[sample, :, row, column].tolist()
            centre_x, centre_y = (p[0] + column) * 32, (p[1] + row) * 32
            w, h = math.exp(p[2]) * 32, math.exp(p[3]) * 32
            corners = (centre_x - w / 2, centre_y - h / 2, centre_x + w / 2, centre_y + h / 2)
            boxes.append([*corners, float(objectness[sample, row, column])])
        return torch.tensor(boxes, dtype=torch.float64)

    def mask_logits(self, fine: Tensor) -> Tensor:
        def view(index: int, x: Tensor, dilation: int = 1) -> Tensor:
            y = self.conv(f"head.sconv.0.conv{index}", x, norm="batch_norm", dilation=dilation)
            return torch.where(y > 0, y, 0.1 * y)

        views = [view(0, fine), *(view(i, fine, 6 * i) for i in (1, 2, 3))]
        views.append(view(4, fine.mean(dim=(2, 3), keepdim=True)).repeat(1, 1, *fine.shape[2:]))
        logits = self.pointwise("head.sconv.0.out_proj", torch.cat(views, dim=1))
        upsampled: Tensor = torch.nn.UpsamplingBilinear2d(scale_factor=8)(logits)
        return upsampled[:, 0]
