"""What every teacher is: somebody with a name and a version who answers a question about a micrograph."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from micrographia.records import Claim, Micrograph
from micrographia.teach.facts import Facts
from micrographia.teach.questions import Length, Question, QuestionSet


class Taught(NamedTuple):
    """An answer and the facts behind its words."""

    text: str
    claims: tuple[Claim, ...]


class Teacher(Protocol):
    """A source of answers.

    The measured teacher only words the record, so it answers about every micrograph, those of the test part
    included: evaluation compares with its words. A teacher that is a model is to be given no micrograph of
    the test part, whatever it is asked.
    """

    name: str
    version: str
    """Changes whenever the same arguments would get another answer."""

    def answer(
        self,
        micrograph: Micrograph,
        facts: Facts,
        questions: QuestionSet,
        question: Question,
        length: Length,
        seed: int,
    ) -> Taught | None:
        """The answer; None where it has nothing to say. The same arguments give the same answer."""
