"""``micrographia ask``: the assistant answers about one image."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from micrographia.cli.console import HERE, AsJson, Lab, at_work, say, show, show_json, with_lab
from micrographia.errors import RecipeError, StudentError

if TYPE_CHECKING:
    from micrographia.assistant.assistant import Assistant, Look, Ranking
    from micrographia.micrographs.picture import Picture
    from micrographia.teach.teacher import Taught
    from micrographia.workspace import Workspace

NOT_TAUGHT = (
    "the student was not taught this question, so that its answer may be about something else "
    "(`micrographia ask --list` shows those it was)"
)

LONGEST_NAME = 256
"""Bytes of a file's name: file systems refuse to look for longer ones."""

SHOWN = 3
"""Classes that are drawn as bars; ``--json`` gives all."""

Student = Annotated[
    str | None,
    typer.Option(help="A student of the workspace by its name, or any by its folder; else the recipe's."),
]


def ask(
    image: Annotated[
        Path | None,
        typer.Argument(help="A PNG, JPEG, BMP, TIFF, DM3, DM4, EMD, SER or MRC file.", show_default=False),
    ] = None,
    question: Annotated[
        str | None,
        typer.Argument(help="In words. Without it: a caption, and the class.", show_default=False),
    ] = None,
    lab: Lab = HERE,
    student: Student = None,
    list_questions: Annotated[
        bool, typer.Option("--list", help="Show the questions that the student was taught, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the assistant about an image, which need not be in the workspace and is not taken into it.

    Without a question it writes a caption and says which of its classes the image belongs to, with the
    probability it gives each. How far that can be trusted is what `evaluate` measures. It was taught certain
    questions, in several wordings; of any other it is said that the answer may be about something else.

    Questions about scale, sizes, counts and settings are not left to the student: they are answered from the
    file's header, its scale bar and the pixels, with n and interval, or with why they cannot be answered.

    Example: micrographia ask --lab my-lab new.png

    Example: micrographia ask --lab my-lab --list

    Example: micrographia ask --lab my-lab new.png "In which direction do the features run?"

    Example: micrographia ask --lab my-lab new.tif "How large are the particles?"

    Next, for a whole folder: micrographia screen --lab my-lab FOLDER --out table.csv
    """
    from micrographia.assistant.assistant import Assistant
    from micrographia.assistant.load import find
    from micrographia.assistant.record import answer_from_record, as_catalogued
    from micrographia.micrographs.picture import open_picture

    with at_work(lab, quiet=True) as (workspace, _):
        if list_questions:
            _show_questions(workspace, student, as_json)
            return
        path = _image_file(image, question)
        picture = as_catalogued(open_picture(path), workspace.catalog)
        told = answer_from_record(picture, question) if question else None
        if question and told:
            _show_told(told, picture, path, question, as_json)
            return
        assistant = Assistant.load(find(workspace, student))
    look = assistant.ask(picture.field, question)
    if as_json:
        show_json(as_dict(look, path, assistant))
    else:
        _show(look, assistant, lab)


def _show(look: Look, assistant: Assistant, lab: Path) -> None:
    """What the student said, and a remark where it was not taught to."""
    show(look.text)
    if look.ranking:
        show(_bars(look.ranking))
    if not _was_taught(look, assistant):
        nearest = assistant.nearest_question(look.question)
        remark = NOT_TAUGHT + (f"; the nearest it was: {nearest}" if nearest else "")
        say(with_lab(remark, lab), style="yellow")


def _was_taught(look: Look, assistant: Assistant) -> bool:
    return look.question == assistant.card.caption_question or assistant.was_taught(look.question)


def _show_told(told: Taught, picture: Picture, path: Path, question: str, as_json: bool) -> None:
    """An answer from the record, with what its lengths rest on."""
    if as_json:
        show_json(
            {
                "image": str(path),
                "question": question,
                "answered_by": "record",
                "answer": told.text,
                "claims": [claim.model_dump(exclude_none=True) for claim in told.claims],
                "scale": picture.scale.model_dump(),
            }
        )
        return
    from micrographia.micrographs.scale import scale_in_words

    show(told.text)
    say(f"from the image's own record, not from the student; {scale_in_words(picture.scale)}")


def _image_file(image: Path | None, question: str | None) -> Path:
    """The image; raises where something else was named."""
    if image is None:
        raise typer.BadParameter("name the image to look at", param_hint="IMAGE")
    if question is not None and len(question.encode()) < LONGEST_NAME and Path(question).is_file():
        raise RecipeError(f"the question {question!r} is a file", "ask about one image; `screen` takes many")
    if image.is_dir():
        raise RecipeError(
            f"{image} is a folder", f"micrographia screen {shlex.quote(str(image))} --out table.csv"
        )
    if not image.exists():
        raise RecipeError(f"there is no image {image}", "first the image, then the question")
    return image


def _show_questions(workspace: Workspace, student: str | None, as_json: bool) -> None:
    from micrographia.assistant.load import find
    from micrographia.assistant.record import questions_of_the_record
    from micrographia.tune.card import read_card

    try:
        card = read_card(find(workspace, student))
    except StudentError as error:
        if student:
            raise
        say(str(error), style="yellow")
        card = None
    questions = card.questions if card else ()
    measured = questions_of_the_record()
    if as_json:
        show_json({"questions": [list(p) for p in questions], "from_the_record": [list(p) for p in measured]})
        return
    for phrasings in questions:
        show(phrasings[0])
    say("from the record of the image, not from the student:")
    for phrasings in measured:
        show(phrasings[0])


def as_dict(look: Look, image: Path, assistant: Assistant) -> dict[str, Any]:
    """As ``--json`` prints it."""
    return {
        "image": str(image),
        "question": look.question,
        "answered_by": "student",
        "taught": _was_taught(look, assistant),
        "answer": look.text,
        "ranking": [list(pair) for pair in look.ranking],
        "confidence": look.confidence,
        "student": assistant.identity,
    }


def _bars(ranking: Ranking) -> Table:
    table = Table.grid(padding=(0, 2))
    for label, probability in ranking[:SHOWN]:
        table.add_row(Text(label), f"{probability:.1%}", Bar(1, 0, probability, width=24))
    return table
