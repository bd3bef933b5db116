"""What is asked in the test, and who answers: the student, the student blind, and two baselines."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micrographia.assistant import Assistant
from micrographia.assistant.assistant import Ranking
from micrographia.catalog import Objects
from micrographia.engine import Progress, few_at_a_time
from micrographia.evaluate.baselines import commonest, nearest_answers, nearest_classes, noise_image
from micrographia.micrographs.field import open_field
from micrographia.records import Answer, Conversation, Micrograph
from micrographia.tune.plan import field_size
from micrographia.workspace import Workspace

IMAGES_AT_ONCE = 16
"""Images between two commits of answers: fewer where they are large."""

STUDENT, BLIND, NEAREST, MAJORITY = "student", "blind student", "nearest neighbour", "majority"

Answers = dict[str, Answer]
"""By conversation."""


@dataclass(frozen=True)
class Exam:
    """The test images, in the order of their ids, and what is asked about each."""

    micrographs: list[Micrograph]
    asked: dict[str, list[Conversation]]
    """By micrograph: its category, its caption, and questions drawn for it."""
    too_long: int = 0
    """Questions left out, because the student cannot read them to their end."""

    @property
    def conversations(self) -> list[Conversation]:
        """All that is asked."""
        return [c for m in self.micrographs for c in self.asked[m.id]]


def set_exam(
    micrographs: Iterable[Micrograph],
    conversations: Iterable[Conversation],
    questions_per_image: int,
    seed: int,
) -> Exam:
    """Of each image: the short category, a caption, and so many questions, drawn by ``seed``."""
    every: dict[str, list[Conversation]] = defaultdict(list)
    for conversation in conversations:
        every[conversation.micrographs[0]].append(conversation)
    asked = {}
    for identity, known in every.items():
        draw = random.Random(f"{seed} {identity}")
        questions = [c for c in known if c.task == "vqa"]
        captions = [c for c in known if c.task == "caption"]
        asked[identity] = [
            *(c for c in known if c.task == "category" and c.length == "short"),
            *draw.sample(captions, min(1, len(captions))),
            *draw.sample(questions, min(questions_per_image, len(questions))),
        ]
    return Exam([m for m in micrographs if m.id in asked], asked)


def readable(exam: Exam, assistant: Assistant) -> Exam:
    """The exam without the questions that are longer, with their image, than the student reads."""
    asked = {
        m.id: [c for c in exam.asked[m.id] if assistant.reads(c.prompt, field_size(m))]
        for m in exam.micrographs
    }
    too_long = sum(len(exam.asked[identity]) - len(about) for identity, about in asked.items())
    return Exam([m for m in exam.micrographs if asked[m.id]], asked, too_long)


def sit(exam: Exam, assistant: Assistant, workspace: Workspace, blind: bool, progress: Progress) -> Answers:
    """The student's answers to the whole exam; what it answered in an earlier run is not asked again."""
    identity = f"{assistant.identity[:40]} blind" if blind else assistant.identity
    answers = workspace.catalog.answers(identity)
    unanswered = {m.id: [c for c in exam.asked[m.id] if c.id not in answers] for m in exam.micrographs}
    missing = [m for m in exam.micrographs if unanswered[m.id]]
    progress.begin(BLIND if blind else STUDENT, len(missing), "images")
    for batch in few_at_a_time(missing, IMAGES_AT_ONCE, _bytes_of):
        images = [open_field(workspace.objects, m) for m in batch]
        if blind:
            images = [noise_image(i.shape, int(m.id[:8], 16)) for i, m in zip(images, batch, strict=True)]
        given = _answer(assistant, identity, [unanswered[m.id] for m in batch], images)
        workspace.catalog.record_answers(identity, given)
        answers |= given
        progress.advance(len(batch))
    progress.end()
    return {c.id: answers[c.id] for c in exam.conversations}


def _answer(
    assistant: Assistant,
    identity: str,
    questions: Sequence[Sequence[Conversation]],
    images: Sequence[NDArray[np.uint8]],
) -> Answers:
    """The answers to all ``questions``, which are as many lists as there are images."""
    asked = [(row, c) for row, about_image in enumerate(questions) for c in about_image]
    texts = assistant.answer(images, [c.prompt for _, c in asked], [row for row, _ in asked])
    ranked = sorted({row for row, c in asked if c.task == "category"}) if assistant.knows_classes else []
    rankings = dict(zip(ranked, assistant.classify([images[row] for row in ranked]), strict=True))
    return {
        c.id: Answer(
            micrograph=c.micrographs[0],
            student=identity,
            question=c.prompt,
            text=text,
            ranking=rankings.get(row, ()) if c.task == "category" else (),
        )
        for (row, c), text in zip(asked, texts, strict=True)
    }


@dataclass(frozen=True)
class Training:
    """What the baselines know: the training images as the student's eye sees them, and their answers."""

    micrographs: list[Micrograph]
    embeddings: NDArray[np.float32]
    answers: dict[str, list[str | None]]
    """By question (set, id and length): each training image's answer."""

    @property
    def labelled(self) -> list[int]:
        """Rows of the images that have a class."""
        return [row for row, m in enumerate(self.micrographs) if m.label]


def embed(
    assistant: Assistant, objects: Objects, micrographs: Sequence[Micrograph], progress: Progress
) -> NDArray[np.float32]:
    """Embeddings (n, d) by the student's eye."""
    rows: list[NDArray[np.float32]] = []
    progress.begin("embedding", len(micrographs), "images")
    for batch in few_at_a_time(micrographs, IMAGES_AT_ONCE, _bytes_of):
        rows.append(assistant.embed([open_field(objects, m) for m in batch]))
        progress.advance(len(batch))
    progress.end()
    return np.concatenate(rows) if rows else assistant.embed([])


def _bytes_of(micrograph: Micrograph) -> int:
    return micrograph.width * micrograph.height * micrograph.channels


def question_key(conversation: Conversation) -> str:
    """Conversations with the same key ask the same thing of different images."""
    return f"{conversation.question_set} {conversation.question} {conversation.length}"


def answers_by_question(
    micrographs: Sequence[Micrograph], conversations: Iterable[Conversation]
) -> dict[str, list[str | None]]:
    """Each image's answer to each question; None where it has none."""
    row = {m.id: i for i, m in enumerate(micrographs)}
    answers: dict[str, list[str | None]] = defaultdict(lambda: [None] * len(micrographs))
    for conversation in conversations:
        answers[question_key(conversation)][row[conversation.micrographs[0]]] = conversation.answer
    return dict(answers)


def nearest_neighbour(exam: Exam, training: Training, embeddings: NDArray[np.float32]) -> Answers:
    """What the nearest training image would say; ``embeddings`` (n, d) are those of the exam's images."""
    said: Answers = {}
    row = {m.id: i for i, m in enumerate(exam.micrographs)}
    by_question: dict[str, list[Conversation]] = defaultdict(list)
    for conversation in exam.conversations:
        by_question[question_key(conversation)].append(conversation)
    rankings = _nearest_rankings(training, embeddings)
    for key, conversations in by_question.items():
        rows = [row[c.micrographs[0]] for c in conversations]
        if not any(training.answers.get(key, [])):
            continue
        texts = nearest_answers(training.embeddings, training.answers[key], embeddings[rows])
        for conversation, text, i in zip(conversations, texts, rows, strict=True):
            said[conversation.id] = _plain(conversation, NEAREST, text, rankings[i])
    return said


def majority(exam: Exam, training: Training) -> Answers:
    """The commonest class, and the commonest answer to each question."""
    labels = [m.label for m in training.micrographs if m.label]
    ranking = commonest(labels) if labels else ()
    commonest_answer = {
        key: commonest([text for text in answers if text])[0][0] for key, answers in training.answers.items()
    }
    return {
        c.id: _plain(c, MAJORITY, commonest_answer[question_key(c)], ranking)
        for c in exam.conversations
        if question_key(c) in commonest_answer
    }


def _nearest_rankings(training: Training, embeddings: NDArray[np.float32]) -> list[Ranking]:
    rows = training.labelled
    if not rows:
        return [()] * len(embeddings)
    labels = [str(training.micrographs[row].label) for row in rows]
    ranked = nearest_classes(training.embeddings[rows], labels, embeddings)
    # A neighbour knows an order and no probabilities: all of it is put on the first.
    return [tuple((name, float(place == 0)) for place, name in enumerate(names)) for names in ranked]


def _plain(conversation: Conversation, system: str, text: str, ranking: Ranking) -> Answer:
    return Answer(
        micrograph=conversation.micrographs[0],
        student=system,
        question=conversation.prompt,
        text=text,
        ranking=ranking if conversation.task == "category" else (),
    )
