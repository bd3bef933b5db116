"""What a student learns from, and the fingerprint of all that decides what it becomes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from micrographia.errors import PlanError
from micrographia.recipe import TuneSection
from micrographia.records import Conversation, Micrograph
from micrographia.teach.generate import current_course, for_a_student
from micrographia.workspace import Workspace

LEARNED = ("train", "validation")
"""Parts that a student is made with."""
VERSION = 8
"""Counts up when the same recipe and data make another student."""
AS_IT_FITS = ("too_large", "gradient_checkpointing")
"""Fields of the recipe that say how much memory a step may take, and change no student."""


@dataclass(frozen=True)
class Corpus:
    """Images in the order of their ids, with all their conversations."""

    micrographs: list[Micrograph]
    groups: list[int]
    """One number for all images that are bound together, by row."""
    conversations: list[Conversation]
    parts: dict[str, list[int]]
    """Rows of the images of each part."""
    untaught: int
    """Images of the workspace that no conversation is about."""

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each micrograph."""
        return {m.id: row for row, m in enumerate(self.micrographs)}

    def of(self, part: str) -> list[Conversation]:
        """The conversations of one part."""
        rows = set(self.parts[part])
        return [c for c in self.conversations if self.rows[c.micrographs[0]] in rows]

    def commonest_prompt(self, task: str, length: str) -> str:
        """What training images are asked most often for this; "" where they are not."""
        prompts = Counter(c.prompt for c in self.of("train") if c.task == task and c.length == length)
        return min(prompts, key=lambda p: (-prompts[p], p)) if prompts else ""

    def fingerprint(self, recipe: TuneSection, given: str = "") -> str:
        """sha256 over all that decides what the student of this recipe becomes; its name does not, nor
        ``AS_IT_FITS``.

        ``given`` is the digest of the models that it names (``given.digest_of_given``).
        """
        texts = (f"{c.id} {c.prompt} {c.answer}" for c in self.conversations)
        division = json.dumps([self.parts, self.groups])
        content = [str(VERSION), recipe.model_dump_json(exclude={"name", *AS_IT_FITS}), *texts, division]
        return hashlib.sha256("\n".join([*content, *filter(None, [given])]).encode()).hexdigest()


def corpus_of(workspace: Workspace, fold: int) -> Corpus:
    """Of the recipe's course, what a student is to answer.

    Raises PlanError where there is nothing to learn from or to validate with.
    """
    catalog = workspace.catalog
    conversations = list(filter(for_a_student, catalog.conversations(current_course(workspace))))
    if not conversations:
        raise PlanError(
            "there are no conversations of the recipe's course for a student",
            "teach first: micrographia teach; or name more question sets than those about scale and sizes",
        )
    part_of, group_of, every = catalog.parts(fold), catalog.groups(), catalog.micrographs()
    taught = {c.micrographs[0] for c in conversations}
    micrographs = [m for m in every if m.id in taught]
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for row, micrograph in enumerate(micrographs):
        if micrograph.id in part_of:
            parts[part_of[micrograph.id]].append(row)
    if not any(parts.values()):
        raise PlanError(
            "the images are not divided into train, validation and test",
            "ingest was stopped before its end: `micrographia run` does the rest of it",
        )
    _require_images(part_of[m.id] for m in every if m.id in part_of)
    require_learners(parts)
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(group_of[m.id], len(numbers)) for m in micrographs]
    return Corpus(micrographs, groups, conversations, parts, len(every) - len(micrographs))


def _require_images(parts: Iterable[str]) -> None:
    """Raises PlanError where the division, the part of each image, leaves one of LEARNED without images."""
    filled = set(parts)
    for part in LEARNED:
        if part not in filled:
            raise PlanError(
                f"the {part} part has no image",
                "ingest images of more specimens, of one class three at least; or tell fewer to be test",
            )


def require_learners(parts: Mapping[str, Sequence[int]]) -> None:
    """Raises PlanError where there is nothing to learn from or to validate with."""
    for part in LEARNED:
        if not parts[part]:
            raise PlanError(
                f"no image of the {part} part has a conversation that the student can read",
                "ingest more images, name more question sets in teach.questions, or change split.validation",
            )
