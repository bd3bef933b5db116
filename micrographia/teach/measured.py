"""The measured teacher: answers worded from facts alone, every phrase of them kept as a claim."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Sequence

from micrographia.measure import METHOD_VERSION
from micrographia.records import Claim, Micrograph
from micrographia.teach.facts import Fact, Facts
from micrographia.teach.levels import LEVELS
from micrographia.teach.lexicon import Form, phrases, wording_table
from micrographia.teach.questions import SLOT, Length, Question, QuestionSet
from micrographia.teach.teacher import Taught

COMPOSITION_VERSION = 2
"""Raised when answers are put together in another way from the same words."""

MOST_LIMITS = 2
"""Things that cannot be told which one answer names."""

Choice = tuple[str, ...]
"""A phrase for each slot of a frame."""


class MeasuredTeacher:
    """Words the record of a micrograph: its class, its header, its measurements and what cannot be told."""

    name = "measured"

    def __init__(self) -> None:
        told = repr((COMPOSITION_VERSION, METHOD_VERSION, LEVELS, wording_table()))
        self.version = hashlib.sha256(told.encode()).hexdigest()[:12]

    def answer(
        self,
        micrograph: Micrograph,
        facts: Facts,
        questions: QuestionSet,
        question: Question,
        length: Length,
        seed: int,
    ) -> Taught | None:
        """A seeded choice among all wordings of what is known on the question's subjects."""
        stated = stated_facts(questions, question, facts, length)
        frames = usable_frames(questions, stated, length)
        if not frames:
            return None
        draw = random.Random(f"{seed} {micrograph.id} {questions.name} {question.id} {length}")
        frame = draw.choice(frames)
        return compose(frame, stated, tuple(draw.choice(options) for options in _options(frame, stated)))


def stated_facts(questions: QuestionSet, question: Question, facts: Facts, length: Length) -> list[Fact]:
    """The facts that an answer of this length states, in its order: what is known, then what is not.

    A short answer names one limit, and only where nothing is known; a long one names MOST_LIMITS; a caption
    or a class none. A question whose short answer would be empty has no long one either.
    """
    short, of_length = (
        [facts[subject] for subject in question.subjects(one) if subject in facts]
        for one in ("short", length)
    )
    known = [fact for fact in of_length if fact.kind != "limit"]
    limits = [fact for fact in of_length if fact.kind == "limit"] if questions.task == "vqa" else []
    if not short:
        return []
    if length == "short":
        return known or limits[:1]
    return known + limits[:MOST_LIMITS]


def usable_frames(questions: QuestionSet, stated: Sequence[Fact], length: Length) -> list[str]:
    """Frames with one slot for each fact, and a phrase of the right form for each slot."""
    return [
        frame
        for frame in questions.frames.of(length)
        if len(SLOT.findall(frame)) == len(stated) and all(_options(frame, stated))
    ]


MOST_WORDINGS = 600
"""More than any question or class has; of a caption there are thousands, too many to compare with."""


def wordings(
    questions: QuestionSet, question: Question, facts: Facts, length: Length, limit: int = MOST_WORDINGS
) -> list[str]:
    """All wordings of the same facts, or ``limit`` of them spread evenly over frames and phrases."""
    stated = stated_facts(questions, question, facts, length)
    frames = usable_frames(questions, stated, length)
    if not frames:
        return []
    options = [_options(frame, stated) for frame in frames]
    whole = sum(math.prod(map(len, of_frame)) for of_frame in options) <= limit
    each = [
        itertools.product(*of_frame) if whole else _spread(of_frame, limit // len(frames))
        for of_frame in options
    ]
    texts = (
        compose(frame, stated, choice).text
        for frame, choices in zip(frames, each, strict=True)
        for choice in choices
    )
    return list(dict.fromkeys(texts))


def in_plain_words(stated: Sequence[Fact]) -> Taught:
    """A sentence for each fact, limits with their reason: the answer where nobody is to learn variety."""
    forms: list[Form] = ["reasoned" if fact.kind == "limit" else "clause" for fact in stated]
    words = [
        phrases(fact.subject, fact.value, fact.because)[form][0]
        for fact, form in zip(stated, forms, strict=True)
    ]
    return compose(" ".join(f"{{{form}}}." for form in forms), stated, tuple(words))


def compose(frame: str, stated: Sequence[Fact], choice: Choice) -> Taught:
    """The frame with a phrase in each slot; a phrase that begins a sentence gets a capital."""
    text, claims, at = "", [], 0
    for slot, fact, phrase in zip(SLOT.finditer(frame), stated, choice, strict=True):
        text += frame[at : slot.start()]
        at = slot.end()
        words = _capital(phrase) if _begins_sentence(text) and slot[1] != "bare" else phrase
        claims.append(_claim(fact, len(text), len(text) + len(words)))
        text += words
    return Taught(text + frame[at:], tuple(claims))


def _options(frame: str, stated: Sequence[Fact]) -> list[tuple[str, ...]]:
    forms: list[Form] = SLOT.findall(frame)
    return [
        phrases(f.subject, f.value, f.because).get(form, ()) for form, f in zip(forms, stated, strict=True)
    ]


def _spread(options: Sequence[tuple[str, ...]], limit: int) -> Iterator[Choice]:
    """At most about ``limit`` of all combinations, at equal steps through their order."""
    step = max(1, math.ceil(math.prod(map(len, options)) / max(limit, 1)))
    # A step that shares a factor with the last slots would always meet the same phrases there.
    while step > 1 and any(math.gcd(step, len(phrases)) > 1 for phrases in options):
        step += 1
    return itertools.islice(itertools.product(*options), 0, None, step)


def _begins_sentence(before: str) -> bool:
    return not before or before.endswith(". ")


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]


def _claim(fact: Fact, start: int, end: int) -> Claim:
    return Claim(
        kind=fact.kind,
        subject=fact.subject,
        value=fact.value,
        quantity=fact.quantity,
        evidence=fact.evidence,
        directional=fact.directional,
        start=start,
        end=end,
    )
