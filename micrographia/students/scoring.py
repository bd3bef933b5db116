"""How likely a student holds each of several answers: what a ranking of classes is made of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from micrographia.students.losses import IGNORED

LOGITS_AT_ONCE, TOKENS_AT_ONCE = 1 << 22, 1 << 14
"""How many logits ``score_labels`` holds at a time, 16 MiB in float32, and how many tokens of images and
prompts, which stand for each of the answers anew."""
IMAGES_AT_ONCE = 16
"""That are looked at together."""


class ScoresLabels:
    """Of a student that reads questions about images: the likelihood of each of several answers."""

    config: Any

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens (B, N, d) of ``pixel_values`` (B, channels, height, width), and where the eye puts the
        images, (B, d)."""
        raise NotImplementedError

    def look(self, pixel_values: Tensor) -> Tensor:
        """The image tokens alone."""
        return self.encode_images(pixel_values)[0]

    def embed(self, pixel_values: Tensor) -> Tensor:
        """Where the eye puts the images, alone."""
        return self.encode_images(pixel_values)[1]

    def shown(self, prompt_ids: Tensor, image_tokens: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """What ``forward`` is given to see, beside the prompts, and beside what follows them with a cache."""
        raise NotImplementedError

    def shown_several(
        self, prompt_ids: Tensor, image_tokens: Tensor, image_index: Tensor
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same of prompts about several images, prompt t about those of ``image_index[t]`` (T, I).

        Here one after another in the order of reading, as prompts with places for images take them.
        """
        return self.shown(prompt_ids, image_tokens[image_index[image_index >= 0]])

    @torch.no_grad()
    def score_labels(
        self,
        pixel_values: Tensor,
        prompt_ids: Tensor,
        label_ids: Tensor,
        prompt_mask: Tensor | None = None,
        image_index: Tensor | None = None,
    ) -> Tensor:
        """Log-probability (B, K) of each of K class texts, given the image and the question.

        log p_k = log softmax_k (sum_i log P(w_ki | w_k<i, image, question)), the sum over the tokens of
        class text k, ``<EOS>`` among them: the likelihood of just this answer, normalised over the K.

        ``prompt_ids`` is one question (P,) for all images or (B, P) padded on the left, with ``prompt_mask``;
        it is closed as the student's processor closes questions. ``label_ids`` (K, L), each ending in
        ``<EOS>``, padded on the right with ``<pad>``. The question is read once for each image; images are
        taken so many at a time that ``LOGITS_AT_ONCE`` and ``TOKENS_AT_ONCE`` hold. With ``image_index`` (B,
        I) question b is about several of the images, in this order, filled up with ``NO_IMAGE``; each is
        looked at once.
        """
        starts = range(0, len(pixel_values), IMAGES_AT_ONCE)
        looked = torch.cat([self.look(pixel_values[start : start + IMAGES_AT_ONCE]) for start in starts])
        prompts = prompt_ids.expand(len(looked if image_index is None else image_index), -1)
        mask = torch.ones_like(prompts) if prompt_mask is None else prompt_mask.expand_as(prompts)
        images = 1 if image_index is None else image_index.shape[1]
        step = self._rows_at_once(prompts.shape[1] + images * looked.shape[1], label_ids)
        scores = []
        for rows in (slice(i, i + step) for i in range(0, len(prompts), step)):
            if image_index is None:
                seen = self.shown(prompts[rows], looked[rows])
            else:
                seen = self.shown_several(prompts[rows], looked, image_index[rows])
            scores.append(self._likelihoods(seen, prompts[rows], mask[rows], label_ids))
        return torch.cat(scores).log_softmax(1)

    def _rows_at_once(self, tokens: int, label_ids: Tensor) -> int:
        vocabulary = self.config.get_text_config().vocab_size
        by_logits = LOGITS_AT_ONCE // (label_ids.numel() * vocabulary)
        return int(max(1, min(by_logits, TOKENS_AT_ONCE // (tokens * len(label_ids)))))

    def _likelihoods(
        self, seen: tuple[dict[str, Any], dict[str, Any]], prompts: Tensor, mask: Tensor, labels: Tensor
    ) -> Tensor:
        """Summed log-likelihood (B, K) of each label after each prompt."""
        student: Any = self
        first_seen, then_seen = seen
        asked = student(
            input_ids=prompts, attention_mask=mask, use_cache=True, logits_to_keep=1, **first_seen
        )
        first = asked.logits[:, -1].float().log_softmax(-1)[:, labels[:, 0]]
        images, (count, length) = len(prompts), labels.shape
        if length == 1:
            return first
        cache = asked.past_key_values
        cache.batch_repeat_interleave(count)
        rows = labels.repeat(images, 1)
        mask = F.pad(mask.repeat_interleave(count, 0), (0, length - 1), value=1)
        after = student(input_ids=rows[:, :-1], attention_mask=mask, past_key_values=cache, **then_seen)
        target = rows[:, 1:].where(rows[:, 1:] != self.padding, IGNORED)
        rest = -F.cross_entropy(after.logits.float().transpose(1, 2), target, reduction="none")
        return first + rest.sum(1).view(images, count)

    @property
    def padding(self) -> int:
        """The id of ``<pad>``."""
        return int(self.config.get_text_config().pad_token_id)
