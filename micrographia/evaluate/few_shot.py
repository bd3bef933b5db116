"""The category asked once more, with the most similar labelled training images shown before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from micrographia.assistant import Assistant
from micrographia.assistant.voice import Example
from micrographia.engine import Progress
from micrographia.evaluate.exam import IMAGES_AT_ONCE, STUDENT, Answers, Exam, Training
from micrographia.micrographs.field import open_field
from micrographia.records import Answer, Conversation, Micrograph
from micrographia.teach.sampling import most_similar
from micrographia.workspace import Workspace

SHOWN = f"{STUDENT} shown examples"


class FewShot(NamedTuple):
    """The answers by conversation, and of each test image the training images that were shown, in order."""

    answers: Answers
    examples: dict[str, list[str]]


def sit_shown(
    exam: Exam,
    assistant: Assistant,
    workspace: Workspace,
    training: Training,
    embeddings: NDArray[np.float32],
    progress: Progress,
) -> FewShot | None:
    """The category of each image of the exam, asked with as many examples as the student was taught to be
    shown; None where it was not, or there are fewer. The likest stands last.

    Examples are images that it was tuned with (``pool_of``). ``embeddings`` (n, d) are those of the exam's
    images. What was answered before is not asked again.
    """
    count, pool = assistant.card.demonstrations, pool_of(assistant, training.micrographs)
    asked = {c.micrographs[0]: c for c in exam.conversations if c.task == "category"}
    rows = [row for row, m in enumerate(exam.micrographs) if m.id in asked]
    if not (count and rows and len(pool) >= count):
        return None
    found = most_similar(training.embeddings[pool], embeddings[rows], count).rows[:, ::-1]
    shown = {
        exam.micrographs[row].id: [pool[place] for place in places]
        for row, places in zip(rows, found.tolist(), strict=True)
    }
    identity = identity_of(assistant, training.micrographs)
    answers = workspace.catalog.answers(identity)
    missing = [exam.micrographs[row] for row in rows if asked[exam.micrographs[row].id].id not in answers]
    progress.begin(SHOWN, len(missing), "images")
    for start in range(0, len(missing), IMAGES_AT_ONCE):
        batch = missing[start : start + IMAGES_AT_ONCE]
        images = [open_field(workspace.objects, m) for m in batch]
        examples = [[_example(workspace, training, row) for row in shown[m.id]] for m in batch]
        rankings = assistant.classify(images, examples)
        given = _answers(identity, [asked[m.id] for m in batch], rankings)
        workspace.catalog.record_answers(identity, given)
        answers |= given
        progress.advance(len(batch))
    progress.end()
    ids = [m.id for m in training.micrographs]
    return FewShot(
        {c.id: answers[c.id] for c in asked.values()},
        {image: [ids[row] for row in of_image] for image, of_image in shown.items()},
    )


def pool_of(assistant: Assistant, micrographs: Sequence[Micrograph]) -> list[int]:
    """Rows of the training images that can be shown: with a class that the student was taught, and of those
    it was tuned with. Since then the images may have been divided anew, or be in other class folders."""
    seen, classes = {*assistant.card.seen}, {*assistant.card.classes}
    return [row for row, m in enumerate(micrographs) if m.id in seen and m.label in classes]


def identity_of(assistant: Assistant, micrographs: Sequence[Micrograph]) -> str:
    """Under this its answers are kept, with examples out of the pool of these training images."""
    pool = [f"{micrographs[row].id} {micrographs[row].label}" for row in pool_of(assistant, micrographs)]
    digest = hashlib.sha256("\n".join(sorted(pool)).encode()).hexdigest()
    return f"{assistant.identity[:40]} shown {assistant.card.demonstrations} of {digest[:12]}"


def _example(workspace: Workspace, training: Training, row: int) -> Example:
    micrograph = training.micrographs[row]
    return Example(open_field(workspace.objects, micrograph), str(micrograph.label))


def _answers(
    identity: str, asked: Sequence[Conversation], rankings: Sequence[tuple[tuple[str, float], ...]]
) -> Answers:
    return {
        c.id: Answer(
            micrograph=c.micrographs[0],
            student=identity,
            question=c.prompt,
            text=ranking[0][0],
            ranking=ranking,
        )
        for c, ranking in zip(asked, rankings, strict=True)
    }
