"""WavLM's attention, a stretch of frames at a time on torch's fused kernel.

The library lays out the bias of every pair of frames, (batch, heads, frames, frames), and hands it
to a function of torch that makes the scores and their softmax of the same size. Here the bias is
kept as what it is, one number a head and distance between frames, and laid out for as many frames
as `CELLS` allows; memory grows with a clip's length and no longer with its square. The weights keep
their names.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

CELLS: Mapping[str, int] = {"cpu": 1 << 22, "cuda": 1 << 27}
"""Pairs of frames, times heads and clips, whose bias is laid out at once, by kind of device: little
enough for a processor's cache, and enough to keep a GPU busy."""


class StretchedAttention(WavLMAttention):
    """Takes and gives what the library's does, but for the weights of attention, which are None,
    and the position bias handed from block to block: (heads, 2 frames - 1), by distance."""

    def forward(  # type: ignore[override]  # the library names all that it might hand over
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        index: int = 0,
        **_more: Any,
    ) -> tuple[Tensor, None, Tensor]:
        """(batch, frames, width) and a mask (batch, frames), 1 or True where a frame is real."""
        batch, frames, _ = hidden_states.shape
        heads = self.num_heads
        if position_bias is None:  # block 1 owns the table
            position_bias = self._by_distance(frames, hidden_states.device)
        query, key, value = (
            project(hidden_states).view(batch, frames, heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        gate = self._gate(hidden_states.view(batch, frames, heads, -1).transpose(1, 2))
        # row i of `windows`, counted from its end, is the bias of frame i towards each frame
        windows = position_bias.unfold(1, frames, 1)
        padding = None if attention_mask is None else attention_mask.ne(1)[:, None, None]
        step = max(1, CELLS[hidden_states.device.type] // (batch * heads * frames))
        stretches = []
        for first in range(0, frames, step):
            last = min(first + step, frames)
            bias = gate[:, :, first:last] * windows[:, frames - last : frames - first].flip(1)
            if padding is not None:
                bias = bias.masked_fill(padding, float("-inf"))
            stretches.append(
                scaled_dot_product_attention(
                    query[:, :, first:last],
                    key,
                    value,
                    attn_mask=bias.to(query.dtype),
                    dropout_p=self.dropout if self.training else 0.0,
                )
            )
        together = torch.cat(stretches, dim=2).transpose(1, 2).reshape(batch, frames, -1)
        return self.out_proj(together), None, position_bias

    def _by_distance(self, frames: int, device: torch.device) -> Tensor:
        """Bias of a frame towards the one d frames later, d = -(frames - 1) … frames - 1."""
        distances = torch.arange(-(frames - 1), frames, device=device)
        bias: Tensor = self.rel_attn_embed(self._relative_positions_bucket(distances))
        return bias.T.contiguous()

    def _gate(self, heads: Tensor) -> Tensor:
        """How much a frame heeds positions: (batch, heads, frames, width) -> (…, frames, 1).

        Two gates a head, each the sigmoid of a sum of four projections (WavLM, section III.B).
        """
        scores = self.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1)
        update, reset = torch.sigmoid(scores).chunk(2, dim=-1)
        gate: Tensor = update * (reset * self.gru_rel_pos_const - 1.0) + 2.0
        return gate


def use_chunked_attention(model: nn.Module) -> None:
    """Have every WavLM attention in `model` computed this way; other models stay as they are."""
    for module in model.modules():
        if type(module) is WavLMAttention:
            module.__class__ = StretchedAttention
