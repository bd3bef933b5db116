"""Question sets: YAML files beside this one, checked when they are read and versioned by their hash.

A set names the frames of its answers, which stand in ``teach/frames.yaml``; its hash covers both.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from micrographia.errors import RecipeError
from micrographia.records import Conversation
from micrographia.teach.facts import HEADER_SUBJECTS, SIZES
from micrographia.teach.lexicon import SUBJECTS

Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Length = Literal["short", "long"]
LENGTHS: tuple[Length, ...] = ("short", "long")
SLOT = re.compile(r"\{(noun|clause|limit|reasoned|bare)\}")


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Checked):
    """A question in several phrasings, and the subjects that its answers state, in their order."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
    aspect: Words | None = None
    ask: tuple[Words, ...] = Field(min_length=3)
    short: tuple[str, ...] = Field(min_length=1)
    long: tuple[str, ...] = Field(min_length=1)

    @field_validator("short", "long")
    @classmethod
    def _known_subjects(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [subject for subject in subjects if subject not in SUBJECTS]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: no such subject; there are {', '.join(sorted(SUBJECTS))}"
            )
        return subjects

    def subjects(self, length: Length) -> tuple[str, ...]:
        """What the answer of this length states, as far as it is known."""
        return self.short if length == "short" else self.long

    @property
    def about_the_header(self) -> bool:
        """Whether its answers rest on the header, which has to come with the question then."""
        return any(subject in HEADER_SUBJECTS for subject in (*self.short, *self.long))

    @property
    def about_sizes(self) -> bool:
        """Whether they rest on measured sizes, which have to come with it too."""
        return any(subject in SIZES for subject in (*self.short, *self.long))


class Frames(_Checked):
    """Sentences with a slot for each fact, which says the form of its phrase: ``{noun}``, ``{clause}`` ..."""

    short: tuple[Words, ...] = Field(min_length=1)
    long: tuple[Words, ...] = Field(min_length=1)

    @field_validator("short", "long")
    @classmethod
    def _only_slots_in_braces(cls, frames: tuple[str, ...]) -> tuple[str, ...]:
        for frame in frames:
            if re.search(r"[{}]", SLOT.sub("", frame)) or not SLOT.search(frame):
                raise ValueError(
                    f"{frame!r} needs slots {{noun}}, {{clause}}, {{limit}}, {{reasoned}} or {{bare}}"
                )
        return frames

    def of(self, length: Length) -> tuple[str, ...]:
        """The frames of this length."""
        return self.short if length == "short" else self.long


class QuestionSet(_Checked):
    """Questions of one kind of task, with the frames of their answers."""

    name: str
    sha256: str
    task: Literal["caption", "category", "vqa"]
    fits: tuple[Words, ...] = Field(min_length=1)
    """The kinds of image it is meant for."""
    frames: Frames
    questions: tuple[Question, ...] = Field(min_length=1)

    @property
    def version(self) -> str:
        """Its name and the start of its hash, as conversations carry it."""
        return f"{self.name}@{self.sha256[:12]}"

    def question(self, identity: str) -> Question:
        """The question of this id. Raises KeyError where there is none."""
        return {q.id: q for q in self.questions}[identity]

    @model_validator(mode="after")
    def _ids_differ(self) -> QuestionSet:
        twice = [name for name, n in Counter(q.id for q in self.questions).items() if n > 1]
        if twice:
            raise ValueError(f"questions {', '.join(twice)}: the id is there twice")
        return self

    @model_validator(mode="after")
    def _frames_for_every_number_of_facts(self) -> QuestionSet:
        for length in LENGTHS:
            slots = {len(SLOT.findall(frame)) for frame in self.frames.of(length)}
            for question in self.questions:
                lacking = set(range(1, len(question.subjects(length)) + 1)) - slots
                if lacking:
                    raise ValueError(
                        f"question {question.id}: its {length} answer may state {min(lacking)} facts, "
                        f"but no {length} frame has that many slots"
                    )
        return self


def shipped() -> tuple[str, ...]:
    """Names of the question sets that come with Micrographia."""
    files = (f.name for f in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


@cache
def load(name: str) -> QuestionSet:
    """The shipped set of this name. Raises RecipeError where there is none, or naming its wrong field."""
    if name not in shipped():
        raise RecipeError(
            f"teach.questions names {name!r}, which is no question set", f"choose from {', '.join(shipped())}"
        )
    text = (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    frames = (resources.files("micrographia.teach") / "frames.yaml").read_text(encoding="utf-8")
    return parse(text, frames, name)


def parse(text: str, frames: str, name: str) -> QuestionSet:
    """The set in ``text``, with its frames out of those in ``frames``, both YAML.

    Raises RecipeError naming the set and the wrong field.
    """
    content, known = _mapping(text, name), _mapping(frames, "frames")
    if content.get("frames") not in known:
        raise RecipeError(
            f"question set {name}: frames is {content.get('frames')!r}", f"choose from {', '.join(known)}"
        )
    read = {
        "name": name,
        "sha256": hashlib.sha256((text + frames).encode()).hexdigest(),
        "frames": known[content["frames"]],
    }
    try:
        return QuestionSet.model_validate(content | read)
    except ValidationError as error:
        raise RecipeError(f"question set {name} has wrong fields", _explain(error)) from None


def asked(conversation: Conversation) -> tuple[QuestionSet, Question]:
    """The set and the question of a conversation.

    Raises RecipeError where the set that comes with Micrographia is another version by now.
    """
    questions = load(conversation.question_set.partition("@")[0])
    if questions.version != conversation.question_set:
        raise RecipeError(
            f"a conversation is of {conversation.question_set}, the set is {questions.version} now",
            "teach again: micrographia teach",
        )
    return questions, questions.question(conversation.question)


def _mapping(text: str, name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"question set {name} is not YAML", str(error).replace("\n", " ")) from None
    if not isinstance(content, dict):
        raise RecipeError(f"question set {name} holds {type(content).__name__}", "a set is fields and values")
    return content


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'the set'}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_context=False)
    )
