"""A small language model from nothing: it learns to say what a lab's texts say, before it is given sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from micrographia.engine import Progress
from micrographia.students.losses import IGNORED
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.order import Draw, Order, Plain
from micrographia.tune.precision import Precision

VALIDATED = 20
"""One text in so many is kept to validate with."""


@dataclass(frozen=True)
class LanguageStage:
    """How the language is learned."""

    steps: int = 600
    batch: int = 32
    learning_rate: float = 0.02
    seed: int = 0


def small_language_model(tokenizer: PreTrainedTokenizerFast, longest: int, **sizes: int) -> LlamaForCausalLM:
    """A Llama of 0.9 M parameters beside its vocabulary, with random weights; ``sizes`` change its shape."""
    usual = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=longest,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
            **{**usual, **sizes},
        )
    )


@dataclass(frozen=True)
class Passage:
    """Token ids of a text, the first ``given`` of which are read and not learned."""

    ids: tuple[int, ...]
    given: int = 0


class PassageBatches:
    """Draws to batches of a language model, padded on the right."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """What ``forward`` of a causal language model takes."""
        return padded([self.passages[draw.image] for draw in draws])


def padded(passages: Sequence[Passage]) -> dict[str, Tensor]:
    """A batch of passages; the loss falls on what is learned of each."""
    ids = [torch.tensor(passage.ids) for passage in passages]
    labels = [one.clone() for one in ids]
    for passage, label in zip(passages, labels, strict=True):
        label[: passage.given] = IGNORED
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    }


def language_order(passages: int, stage: LanguageStage) -> Order:
    """The order in which the texts are read, of which some are kept: whole passes, until the steps are
    done."""
    learned = [row for row in range(passages) if row % VALIDATED] or [0]
    epochs = -(-stage.steps * stage.batch // len(learned))
    return Order(learned, epochs, stage.seed)


def learn_language(
    model: LlamaForCausalLM,
    passages: Sequence[Passage],
    stage: LanguageStage,
    folder: Path,
    precision: Precision,
    progress: Progress,
    callbacks: Sequence[Any] = (),
) -> Curve:
    """Train ``model`` in place on ``passages``; in the end it has the weights that validated best.

    A call that finds checkpoints in ``folder`` goes on from them.
    """
    kept = [row for row in range(len(passages)) if row % VALIDATED == 0]
    return fit(
        Stage("learning the language", stage.batch, stage.learning_rate, shared=False),
        model,
        language_order(len(passages), stage),
        Plain(kept),
        PassageBatches(passages),
        folder,
        precision,
        progress,
        callbacks,
    )
