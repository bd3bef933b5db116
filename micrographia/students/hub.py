"""What our students can be asked for beside words, of any vision-language model of the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from micrographia.students.chat import ChatProcessor
from micrographia.students.chat_template import Chat
from micrographia.students.losses import IGNORED
from micrographia.students.processor import Picture


@torch.no_grad()
def score_answers(
    model: Any,
    processor: ChatProcessor,
    chats: Sequence[Chat],
    pictures: Sequence[Sequence[Picture]],
    answers: Sequence[str],
) -> Tensor:
    """Log-probability (B, K) of each of K answers to the last question of each chat.

    log p_k = log softmax_k (sum_i log P(w_ki | w_k<i, chat)), the sum over the tokens of answer k, the end of
    the turn among them, as ``scoring.ScoresLabels`` has it. A prompt is read once, and its cache repeated for
    the K answers, K x L x vocabulary logits at a time.

    Qwen's models keep the positions of the last prompt on themselves: ask one at a time, not from threads.
    """
    rows = [torch.tensor(processor.answer(text), device=model.device) for text in answers]
    labels = pad_sequence(rows, True, IGNORED)
    told = [
        _likelihoods(model, processor, chat, own, labels) for chat, own in zip(chats, pictures, strict=True)
    ]
    return torch.stack(told).log_softmax(1)


def _likelihoods(
    model: Any, processor: ChatProcessor, chat: Chat, pictures: Sequence[Picture], labels: Tensor
) -> Tensor:
    """Summed log-likelihood (K,) of each of ``labels`` (K, L) after the prompt of one chat."""
    prompt = processor.to_ask([chat], [pictures]).to(model.device)
    asked = model(**prompt, use_cache=True, logits_to_keep=1)
    first = asked.logits[0, -1].float().log_softmax(-1)[labels[:, 0]]
    if labels.shape[1] == 1:
        return first
    cache = asked.past_key_values
    cache.batch_repeat_interleave(len(labels))
    given: dict[str, Tensor] = {}
    if not pictures:  # nothing but their count places texts; beside images the model itself places them
        past = prompt["input_ids"].shape[1]
        places = torch.arange(past, past + labels.shape[1] - 1, device=model.device)
        given["position_ids"] = places.expand(len(labels), -1)
    after = model(input_ids=labels[:, :-1].clamp(min=0), past_key_values=cache, **given)
    rest = F.cross_entropy(after.logits.float().transpose(1, 2), labels[:, 1:], reduction="none")
    return first - rest.sum(1)


@torch.no_grad()
def embed(model: Any, processor: ChatProcessor, pictures: Sequence[Picture]) -> Tensor:
    """Where the model puts images, (n, d): the mean over an image of the features that it hands to its
    language model (``get_image_features``). Their length is not normalised."""
    look = {name: tensor.to(model.device) for name, tensor in processor.look(pictures).items()}
    features = model.get_image_features(**look).pooler_output
    return torch.stack([one.flatten(0, -2).mean(0) for one in features])
