"""``micrographia teach``: questions and answers about every micrograph."""

from typing import Annotated

import typer
from rich.table import Table

from micrographia.cli.console import HERE, Lab, Quiet, at_work, say, show, with_lab


def teach(
    lab: Lab = HERE,
    list_sets: Annotated[bool, typer.Option("--list", help="Show the question sets, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write questions and answers about every micrograph, each sentence backed by a recorded fact.

    The recipe says who teaches and which question sets are asked. Micrographs that were taught before are
    left as they are; with other questions, another seed or another version they are taught again.

    Example: micrographia teach --lab my-lab

    Example: micrographia teach --list

    Next: micrographia tune --lab my-lab
    """
    from micrographia.teach import generate

    if list_sets:
        show(_question_sets())
        return
    with at_work(lab, quiet) as (workspace, progress):
        count = generate.teach(workspace, progress)
    if not quiet:
        say(with_lab(f"micrographs taught: {count}; next: micrographia tune", lab))


def _question_sets() -> Table:
    from micrographia.teach import questions

    table = Table("question set", "task", "questions", "fits")
    for name in questions.shipped():
        found = questions.load(name)
        table.add_row(name, found.task, str(len(found.questions)), "; ".join(found.fits))
    return table
