"""The three losses of MVaEMa on plain tensors: contrast, matching, language."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
"""The label of a token on which no loss falls."""


def same_text(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Which rows of ``input_ids`` (B, L) are the same text: (B, B) bool. Rows are padded on the same side."""
    ids = input_ids.masked_fill(attention_mask == 0, -1)
    return (ids[:, None] == ids[None]).all(-1)


def contrastive_loss(similarity: Tensor, same: Tensor, related: Tensor) -> Tensor:
    """L_ITC = (L_I2T + L_T2I) / 2, from similarities over temperature, images in rows and texts in columns.

    The published formula takes one positive for each row. In a lab's corpus the same text belongs to many
    images: with ``same`` (B, B) the probability to be reached is shared among the texts that equal the
    row's own, and with ``related`` (B, B) the other pairs of one group, which may well be true of each
    other, are left out of the sum below the fraction. Where all texts and groups differ this is exactly

        -1/(2N) sum_i [log softmax_j(s_ij)_i + log softmax_j(s_ji)_i]

    (the paper prints the half in the first line of its formula only).
    """
    similarity = similarity.masked_fill(related & ~same, torch.finfo(similarity.dtype).min)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2


def hard_negatives(similarity: Tensor, allowed: Tensor, *, sample: bool) -> Tensor:
    """For each row one column among the ``allowed``, the more similar the likelier (Li 2022, BLIP, 3.2).

    ``similarity`` and ``allowed`` are (R, B), and every row allows something. The column is drawn from
    softmax(similarity); without ``sample`` it is the most similar, so that a validation loss repeats.
    """
    scores = similarity.masked_fill(~allowed, -torch.inf)
    return torch.multinomial(scores.softmax(1), 1).squeeze(1) if sample else scores.argmax(1)


def matching_pairs(
    similarity: Tensor, forbidden: Tensor, *, sample: bool
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Image index, text index and label (1.0 match, 0.0 not) of the pairs that ITM is trained on.

    Each pair of the batch, then each image with a hard text, then each text with a hard image. A pair of
    ``forbidden`` (B, B; symmetric, true on the diagonal) is never a negative; a row without any possible
    negative takes no part, since it could only teach to say yes. None where no row has one.
    """
    allowed = ~forbidden
    rows = allowed.any(1).nonzero().squeeze(1)
    if not len(rows):
        return None
    texts = hard_negatives(similarity[rows], allowed[rows], sample=sample)
    images = hard_negatives(similarity.T[rows], allowed[rows], sample=sample)
    labels = torch.zeros(3 * len(rows), device=similarity.device)
    labels[: len(rows)] = 1.0
    return torch.cat([rows, rows, images]), torch.cat([rows, texts, rows]), labels


def matching_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_ITM = -1/N sum_i [y_i log p_i + (1 - y_i) log(1 - p_i)], with p = sigmoid(logit)."""
    return F.binary_cross_entropy_with_logits(logits, labels)


def language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_LM = -1/N sum_i log P(w_i | w_<i, I, Q) over the N answer tokens; (N, vocabulary) and (N,).

    Zero where there are none. The paper writes the sum; the mean keeps its weight free of the length.
    """
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)
