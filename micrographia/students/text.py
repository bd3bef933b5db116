"""The text stack of MVaEMa: one set of layers, passed through in three ways.

    text encoder              self-attention both ways,                   feed-forward
    image-grounded encoder    self-attention both ways, cross-attention,  feed-forward
    image-grounded decoder    causal self-attention,    cross-attention,  feed-forward

Each column is one set of weights, as in the paper ("employs the same cross-attention layers and
feed-forward networks"): only the two self-attentions differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import EncoderDecoderCache

from micrographia.errors import StudentError
from micrographia.students.configuration import MVaEMaConfig

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of one layer, each (B, heads, N, key size)."""


class Attention(nn.Module):
    """Multi-head attention (Vaswani 2017, arXiv:1706.03762) of a text to itself or to another sequence."""

    def __init__(self, config: MVaEMaConfig, memory_size: int) -> None:
        super().__init__()
        inner = config.num_attention_heads * config.key_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, inner)
        self.key_value = nn.Linear(memory_size, 2 * inner)
        self.project_out = nn.Linear(inner, config.hidden_size)

    def remember(self, memory: Tensor) -> KeyValue:
        """Keys and values of ``memory`` (B, N, memory size)."""
        key, value = self.key_value(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return key, value

    def forward(
        self, x: Tensor, memory: KeyValue, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """``x`` (B, L, d) looks at ``memory`` where ``mask`` (B, 1, L or 1, N) is true; the same shape."""
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, *memory, attn_mask=mask, is_causal=causal)
        return self.project_out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One layer; each sub-layer is pre-norm with a residual (Xiong 2020, arXiv:2002.04745)."""

    def __init__(self, config: MVaEMaConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.norm_both_ways = nn.LayerNorm(size)
        self.both_ways = Attention(config, size)
        self.norm_causal = nn.LayerNorm(size)
        self.causal = Attention(config, size)
        self.norm_cross = nn.LayerNorm(size)
        self.cross = Attention(config, config.vision_config.hidden_size)
        self.norm_feed_forward = nn.LayerNorm(size)
        self.feed_forward = nn.Sequential(
            nn.Linear(size, config.intermediate_size), nn.GELU(), nn.Linear(config.intermediate_size, size)
        )
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, x: Tensor, mask: Tensor, image: KeyValue | None) -> Tensor:
        """Every token sees every token, and the image where there is one."""
        y = self.norm_both_ways(x)
        x = x + self.dropout(self.both_ways(y, self.both_ways.remember(y), mask))
        return self._look_and_think(x, image)

    def decode(
        self, x: Tensor, mask: Tensor | None, image: KeyValue, cache: EncoderDecoderCache | None, layer: int
    ) -> Tensor:
        """Every token sees those before it and the image; without ``mask`` by position alone."""
        y = self.norm_causal(x)
        memory = self.causal.remember(y)
        if cache is not None:
            memory = cache.self_attention_cache.update(*memory, layer)
        x = x + self.dropout(self.causal(y, memory, mask, causal=mask is None and x.shape[1] > 1))
        return self._look_and_think(x, image)

    def _look_and_think(self, x: Tensor, image: KeyValue | None) -> Tensor:
        if image is not None:
            x = x + self.dropout(self.cross(self.norm_cross(x), image))
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


class TextStack(nn.Module):
    """Token and position embeddings, the layers, a last norm; the output embedding is the input's."""

    def __init__(self, config: MVaEMaConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.blocks = cast("Sequence[Block]", blocks)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def remember(self, image_tokens: Tensor) -> list[KeyValue]:
        """What every layer's cross-attention keeps of ``image_tokens`` (B, N, d of the eye)."""
        return [block.cross.remember(image_tokens) for block in self.blocks]

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor, image: list[KeyValue] | None = None
    ) -> Tensor:
        """Both ways, (B, L) to (B, L, d); grounded in the image where ``image`` is given."""
        x = self._embed(input_ids, positions_of(attention_mask))
        mask = attention_mask.bool()[:, None, None]
        for layer, block in enumerate(self.blocks):
            x = block.encode(x, mask, None if image is None else image[layer])
        return self.norm(x)

    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        image: list[KeyValue],
        cache: EncoderDecoderCache | None = None,
    ) -> Tensor:
        """Causally, (B, L) to (B, L, d), after what ``cache`` holds.

        ``attention_mask`` (B, past + L) is needed where there is padding on the left; padding on the
        right lies behind every real token and needs none.
        """
        if len(image[0][0]) != len(input_ids):
            raise StudentError(
                f"{len(input_ids)} texts and {len(image[0][0])} images",
                "say with image_index which image each text is about",
            )
        past = cache.get_seq_length() if cache is not None else 0
        if position_ids is None:
            position_ids = self._positions(input_ids, attention_mask, past)
        x = self._embed(input_ids, position_ids)
        mask = causal_mask(attention_mask, input_ids, past)
        for layer, block in enumerate(self.blocks):
            x = block.decode(x, mask, image[layer], cache, layer)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Over the vocabulary, by the tied embedding (Press 2017, arXiv:1608.05859)."""
        return F.linear(hidden, self.tokens.weight)

    def _positions(self, input_ids: Tensor, attention_mask: Tensor | None, past: int) -> Tensor:
        if attention_mask is not None:
            return positions_of(attention_mask)[:, -input_ids.shape[1] :]
        return torch.arange(past, past + input_ids.shape[1], device=input_ids.device)[None]

    def _embed(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        longest = self.positions.num_embeddings
        if position_ids.numel() and int(position_ids.max()) >= longest:
            raise StudentError(
                f"a text of {int(position_ids.max()) + 1} tokens, the student was made for {longest}",
                "shorten it, or make the student with a larger max_position_embeddings",
            )
        return self.dropout(self.tokens(input_ids) + self.positions(position_ids))


def positions_of(attention_mask: Tensor) -> Tensor:
    """The place of each real token in its text, whichever side the padding is on; 0 for padding."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0) * attention_mask


def causal_mask(attention_mask: Tensor | None, input_ids: Tensor, past: int) -> Tensor | None:
    """(B or 1, 1, L, past + L): what each token may see. None where "everything before it" says it all.

    Padding sees itself, so that no row of the attention is empty.
    """
    length = input_ids.shape[1]
    if attention_mask is not None and attention_mask[:, : past + 1].all():
        attention_mask = None
    if attention_mask is None and (past == 0 or length == 1):
        return None
    total = past + length
    places = torch.arange(total, device=input_ids.device)
    visible = places <= places[past:, None]
    if attention_mask is not None:
        visible = visible & attention_mask.bool()[:, None, None]
    return visible | (places == places[past:, None])
