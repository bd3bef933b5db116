"""Gated cross-attention: how a language model that knows no images is given sight (Alayrac 2022, Flamingo,
arXiv:2204.14198, section 2.2), before chosen layers of any decoder of ``transformers``.

    x + tanh(g) Attention(Q = norm(x), K = V = what is seen), then x + tanh(g') FeedForward(norm(x))

Both gates begin at zero, so that the language model begins as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from micrographia.errors import StudentError

KeyValue = tuple[Tensor, Tensor]


class SeenImages:
    """What the tokens of one call attend to. It lives as long as the call: nothing is kept on a module.

    ``features`` (B, I, N, d): N tokens of each of I images, in the order in which they stand in the text.
    ``times`` (B, L): how many images stand at or before each token; of several continuations of a text, as
    beams are, there are several rows for each of ``features``. ``sees``: whether a token attends to the
    "last" image before it or to "all" of them.
    """

    def __init__(self, features: Tensor, times: Tensor, sees: str) -> None:
        self.features = features
        self.times = times
        self.sees = sees
        self.used = False
        """Whether a block has looked at them."""
        self._memory: dict[int, KeyValue] = {}

    def at(self, times: Tensor) -> SeenImages:
        """The same images for other tokens; what was worked out of them is kept."""
        other = SeenImages(self.features, times, self.sees)
        other._memory = self._memory
        return other

    def after(self, rows: int) -> SeenImages:
        """For one token that follows in each of ``rows`` rows."""
        return self.at(self.times[:, -1:].repeat_interleave(rows // len(self.times), 0))

    def visible(self) -> Tensor:
        """(B, 1, L, I N) whether a token attends to a token of an image."""
        count, tokens = self.features.shape[1:3]
        numbers = torch.arange(1, count + 1, device=self.times.device).repeat_interleave(tokens)
        times = self.times[:, None, :, None]
        return numbers == times if self.sees == "last" else numbers <= times

    def keys_and_values(self, block: GatedCrossAttention) -> KeyValue:
        """Of one block, (B, heads, I N, key size), made once in a call that learns nothing."""
        self.used = True
        rows = len(self.times) // len(self.features)
        if torch.is_grad_enabled():
            return _repeated(block.remember(self.features.flatten(1, 2)), rows)
        if id(block) not in self._memory:
            self._memory[id(block)] = block.remember(self.features.flatten(1, 2))
        return _repeated(self._memory[id(block)], rows)


def _repeated(pair: KeyValue, rows: int) -> KeyValue:
    if rows == 1:
        return pair
    return pair[0].repeat_interleave(rows, 0), pair[1].repeat_interleave(rows, 0)


class GatedCrossAttention(nn.Module):
    """One block. ``hidden_size`` is the language model's, ``seen_size`` that of the image tokens."""

    def __init__(self, hidden_size: int, seen_size: int, heads: int, key_size: int, factor: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden_size)
        self.norm_seen = nn.LayerNorm(seen_size)
        self.query = nn.Linear(hidden_size, heads * key_size, bias=False)
        self.key_value = nn.Linear(seen_size, 2 * heads * key_size, bias=False)
        self.project_out = nn.Linear(heads * key_size, hidden_size, bias=False)
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm_forward = nn.LayerNorm(hidden_size)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, factor * hidden_size, bias=False),
            nn.GELU(),
            nn.Linear(factor * hidden_size, hidden_size, bias=False),
        )
        self.gate_forward = nn.Parameter(torch.zeros(1))

    def remember(self, seen: Tensor) -> KeyValue:
        """Keys and values (B, heads, M, key size) of image tokens (B, M, d)."""
        pair = self.key_value(self.norm_seen(seen.to(self.norm_seen.weight.dtype)))
        keys, values = pair.unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return keys, values

    def forward(self, x: Tensor, seen: SeenImages) -> Tensor:
        """``x`` (B, L, hidden_size), changed where an image stands before a token."""
        keys, values = seen.keys_and_values(self)
        query = self.query(self.norm(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        some = (seen.times > 0)[:, None, :, None]
        # A row that sees nothing would be a softmax over nothing: it looks everywhere and is put to zero.
        found = F.scaled_dot_product_attention(query, keys, values, attn_mask=seen.visible() | ~some)
        told = self.project_out((found * some).transpose(1, 2).flatten(2))
        x = x + torch.tanh(self.gate) * told
        added = self.feed_forward(self.norm_forward(x)) * (seen.times > 0)[..., None]
        return x + torch.tanh(self.gate_forward) * added


class Seeing(nn.Module):
    """What a decoder layer becomes: itself, with a block of its own before it, or none.

    The layer's class gets this one as its first base, so that its name, its weights' names and all that the
    language model reads from it stay as they were. What is seen comes as an argument that the language model
    hands on to its layers.
    """

    sight: GatedCrossAttention | None

    def forward(
        self, hidden_states: Tensor, *args: Any, seen_images: SeenImages | None = None, **kwargs: Any
    ) -> Any:
        """The block, where there is one and something is seen; then the layer."""
        if self.sight is not None and seen_images is not None:
            hidden_states = self.sight(hidden_states, seen_images)
        return super().forward(hidden_states, *args, **kwargs)


@cache
def _seeing(layer: Any) -> type:
    return type(layer.__name__, (Seeing, layer), {"__module__": layer.__module__})


def give_sight(
    language_model: PreTrainedModel, every: int, seen_size: int, heads: int, key_size: int, factor: int
) -> None:
    """Put a block before the first and every ``every``-th layer of the decoder. Raises StudentError."""
    hidden_size = language_model.config.get_text_config().hidden_size
    layers: Iterable[Any] = decoder_layers(language_model)
    for number, layer in enumerate(layers):
        kind: Any = type(layer)
        layer.__class__ = _seeing(kind)
        block = number % every == 0
        layer.sight = GatedCrossAttention(hidden_size, seen_size, heads, key_size, factor) if block else None


def decoder_layers(language_model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a decoder-only language model. Raises StudentError where they are not to be found."""
    decoder = language_model.get_decoder()
    count = language_model.config.get_text_config().num_hidden_layers
    lists = [one for one in decoder.children() if isinstance(one, nn.ModuleList) and len(one) == count]
    if len(lists) != 1:
        raise StudentError(
            f"{type(language_model).__name__} cannot be given sight: it has no single list of {count} layers",
            "choose a language model of the Llama, Qwen, Gemma or SmolLM kind",
        )
    return lists[0]
