"""The text stack of MVaEMa: one set of layers, passed through in three ways.

    text encoder              self-attention both ways,                   feed-forward
    image-grounded encoder    self-attention both ways, cross-attention,  feed-forward
    image-grounded decoder    causal self-attention,    cross-attention,  feed-forward

Each column is one set of weights, as in the paper ("employs the same cross-attention layers and
feed-forward networks"): only the two self-attentions differ. Each kind of attention can be left out, weights
and all, as in the paper's ablations; ``MVaEMaConfig`` says what remains.
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
        size, seen = config.hidden_size, config.vision_config.hidden_size
        self.norm_both_ways = nn.LayerNorm(size) if config.self_attention else None
        self.both_ways = Attention(config, size) if config.self_attention else None
        self.norm_causal = nn.LayerNorm(size) if config.causal_attention else None
        self.causal = Attention(config, size) if config.causal_attention else None
        self.norm_cross = nn.LayerNorm(size) if config.cross_attention else None
        self.cross = Attention(config, seen) if config.cross_attention else None
        self.norm_feed_forward = nn.LayerNorm(size)
        self.feed_forward = nn.Sequential(
            nn.Linear(size, config.intermediate_size), nn.GELU(), nn.Linear(config.intermediate_size, size)
        )
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, x: Tensor, mask: Tensor, image: KeyValue | None) -> Tensor:
        """Every token sees every token, and the image where there is one."""
        if self.both_ways is not None and self.norm_both_ways is not None:
            y = self.norm_both_ways(x)
            x = x + self.dropout(self.both_ways(y, self.both_ways.remember(y), mask))
        return self._look_and_think(x, image)

    def decode(
        self,
        x: Tensor,
        mask: Tensor | None,
        image: KeyValue | None,
        image_mask: Tensor | None,
        cache: EncoderDecoderCache | None,
        layer: int,
    ) -> Tensor:
        """Every token sees what ``mask`` lets it see, without one those before it, and the image."""
        attention, norm = self.causal or self.both_ways, self.norm_causal or self.norm_both_ways
        assert attention is not None and norm is not None  # MVaEMaConfig refuses to leave out both
        y = norm(x)
        memory = attention.remember(y)
        if cache is not None:
            memory = cache.self_attention_cache.update(*memory, layer)
        x = x + self.dropout(attention(y, memory, mask, causal=mask is None and x.shape[1] > 1))
        return self._look_and_think(x, image, image_mask)

    def _look_and_think(self, x: Tensor, image: KeyValue | None, mask: Tensor | None = None) -> Tensor:
        if image is not None and self.cross is not None and self.norm_cross is not None:
            x = x + self.dropout(self.cross(self.norm_cross(x), image, mask))
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
        self.config = config

    def remember(self, image_tokens: Tensor) -> list[KeyValue]:
        """What every layer's cross-attention keeps of ``image_tokens`` (B, N, d of the eye); empty without
        cross-attention."""
        return [block.cross.remember(image_tokens) for block in self.blocks if block.cross is not None]

    def summary(self, input_ids: Tensor, attention_mask: Tensor, image: Sequence[KeyValue] = ()) -> Tensor:
        """What texts (B, L) come to, (B, d): what their first token, ``<cls>`` or ``<Encode>``, gathered from
        the others. Without self-attention it gathers nothing, and the mean of all tokens stands for it."""
        hidden = self.encode(input_ids, attention_mask, image)
        if self.config.self_attention:
            return hidden[:, 0]
        return (hidden * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)

    def encode(self, input_ids: Tensor, attention_mask: Tensor, image: Sequence[KeyValue] = ()) -> Tensor:
        """Both ways, (B, L) to (B, L, d); grounded in the image where ``image`` is given."""
        x = self._embed(input_ids, positions_of(attention_mask))
        mask = attention_mask.bool()[:, None, None]
        for layer, block in enumerate(self.blocks):
            x = block.encode(x, mask, image[layer] if image else None)
        return self.norm(x)

    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        image: Sequence[KeyValue],
        image_mask: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
    ) -> Tensor:
        """Causally, (B, L) to (B, L, d), after what ``cache`` holds.

        ``attention_mask`` (B, past + L) is needed where there is padding on the left; padding on the
        right lies behind every real token and needs none. ``image_mask`` (B, N) bool: which tokens of the
        image are there; all of them without it. A student without causal attention reads the question both
        ways, which therefore must come as a whole.
        """
        if image and len(image[0][0]) != len(input_ids):
            raise StudentError(
                f"{len(input_ids)} texts and {len(image[0][0])} images",
                "say with image_index which image or images each text is about",
            )
        past = cache.get_seq_length() if cache is not None else 0
        if position_ids is None:
            position_ids = self._positions(input_ids, attention_mask, past)
        x = self._embed(input_ids, position_ids)
        whole = None
        if not self.config.causal_attention and past == 0:
            whole = question_of(input_ids, self.config.bos_token_id)
        mask = causal_mask(attention_mask, input_ids, past, whole)
        seen = None if image_mask is None else image_mask[:, None, None]
        for layer, block in enumerate(self.blocks):
            x = block.decode(x, mask, image[layer] if image else None, seen, cache, layer)
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


def question_of(input_ids: Tensor, decode: int) -> Tensor:
    """Which tokens of the texts (B, L) stand up to the first ``decode``, itself among them; none where a text
    has none."""
    closing = input_ids == decode
    answer = (closing.cumsum(1) - closing.long()).bool()
    return closing.any(1, keepdim=True) & ~answer


def causal_mask(
    attention_mask: Tensor | None, input_ids: Tensor, past: int, whole: Tensor | None = None
) -> Tensor | None:
    """(B or 1, 1, L, past + L): what each token may see. None where "everything before it" says it all.

    ``whole`` (B, L) bool, where nothing is past: tokens at the beginning that see each other both ways.
    Padding sees itself, so that no row of the attention is empty.
    """
    length = input_ids.shape[1]
    if attention_mask is not None and attention_mask[:, : past + 1].all():
        attention_mask = None
    if attention_mask is None and whole is None and (past == 0 or length == 1):
        return None
    total = past + length
    places = torch.arange(total, device=input_ids.device)
    visible = places <= places[past:, None]
    if whole is not None:
        visible = visible | whole[:, None, None]
    if attention_mask is not None:
        visible = visible & attention_mask.bool()[:, None, None]
    return visible | (places == places[past:, None])
