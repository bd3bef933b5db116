"""How a student speaks, whatever model it was made from."""

from __future__ import annotations

from transformers import GenerationConfig

KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "max_new_tokens")


def plain(given: GenerationConfig, **changes: int | None) -> GenerationConfig:
    """Of a model's own settings where a text begins, ends and is cut, with ``changes`` of these.

    Sampling, penalties and the like were chosen for other talk: a penalty on repetition keeps a student from
    a word or a number that the question has.
    """
    return GenerationConfig(**{**{name: getattr(given, name) for name in KEPT}, **changes})
