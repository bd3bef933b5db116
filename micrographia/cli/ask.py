"""``micrographia ask``: the assistant answers about one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from micrographia.cli.console import HERE, AsJson, Lab, at_work, show, show_json

if TYPE_CHECKING:
    from micrographia.assistant.assistant import Look, Ranking

SHOWN = 3
"""Classes that are drawn as bars; ``--json`` gives all."""

Student = Annotated[
    str | None, typer.Option(help="A student of the workspace by its name; otherwise that of the recipe.")
]


def ask(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG, BMP or TIFF file of any bit depth.")],
    question: Annotated[
        str | None, typer.Argument(help="In words. Without it: a caption, and the class.")
    ] = None,
    lab: Lab = HERE,
    student: Student = None,
    as_json: AsJson = False,
) -> None:
    """Ask the assistant about an image, which need not be in the workspace and is not taken into it.

    Without a question it writes a caption and says which of its classes the image belongs to, with the
    probability it gives each. How far that can be trusted is what `evaluate` measures.

    Example: micrographia ask --lab my-lab new.png

    Example: micrographia ask --lab my-lab new.png "How coarse is the texture?"

    Next, for a whole folder: micrographia screen --lab my-lab FOLDER --out table.csv
    """
    from micrographia.assistant import Assistant
    from micrographia.assistant.load import find
    from micrographia.micrographs.display import to_display
    from micrographia.micrographs.read import decode

    with at_work(lab, quiet=True) as (workspace, _):
        pixels, _ = to_display(decode(image).pixels)
        assistant = Assistant.load(find(workspace, student))
    look = assistant.ask(pixels, question)
    if as_json:
        show_json(as_dict(look, image, assistant.identity))
        return
    show(look.text)
    if look.ranking:
        show(_bars(look.ranking))


def as_dict(look: Look, image: Path, student: str) -> dict[str, Any]:
    """As ``--json`` prints it."""
    return {
        "image": str(image),
        "question": look.question,
        "answer": look.text,
        "ranking": [list(pair) for pair in look.ranking],
        "confidence": look.confidence,
        "student": student,
    }


def _bars(ranking: Ranking) -> Table:
    table = Table.grid(padding=(0, 2))
    for label, probability in ranking[:SHOWN]:
        table.add_row(Text(label), f"{probability:.1%}", Bar(1, 0, probability, width=24))
    return table
