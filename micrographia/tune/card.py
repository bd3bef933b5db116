"""What lies beside a student's weights: which plan it comes from, which classes it knows, how it learned."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from micrographia.errors import StudentError
from micrographia.records import Record

CARD = "card.json"


class Card(Record):
    """Written before the folder gets its name, so that a student is whole or absent."""

    fingerprint: str
    """Of everything that decides what the student becomes: recipe, conversations, division, code version."""
    classes: tuple[str, ...]
    """Labels, as the lab writes them."""
    class_texts: tuple[str, ...]
    """The same in words, as the student says them."""
    category_question: str
    """What it was asked for its short category answers; "" where the images had no labels."""
    caption_question: str = ""
    demonstrations: int = Field(default=0, ge=0)
    """How many labelled images it was taught to be shown before that question."""
    questions: tuple[tuple[str, ...], ...] = ()
    """The phrasings of each question that it was taught to answer, but for those that need a header."""
    recipe: str
    """The recipe as JSON, without what is of the lab's machines: a database address may hold a password."""
    plan: str
    """The plan that was printed before the first step."""
    images: int = Field(ge=1)
    """Training images."""
    seen: tuple[str, ...]
    """Ids of the micrographs it was trained or chosen with: none of them can be an image to test it on."""
    label_curve: tuple[dict[str, float], ...] = ()
    curve: tuple[dict[str, float], ...] = ()
    """What was logged: step, loss and its parts, eval_loss, learning_rate."""


def read_card(folder: Path) -> Card | None:
    """The card of the student in ``folder``; None where there is no student. Raises StudentError."""
    try:
        return Card.model_validate_json((folder / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        cause = str(error).replace("\n", " ")
        raise StudentError(
            f"{folder / CARD} cannot be read ({cause})", "tune again: micrographia tune"
        ) from None


def is_of(folder: Path, fingerprint: str) -> bool:
    """Whether the student in ``folder`` has this fingerprint. One whose card cannot be read has none."""
    try:
        card = read_card(folder)
    except StudentError:
        return False
    return card is not None and card.fingerprint == fingerprint
