"""What the verbs share: where words go, and the options that mean the same everywhere.

Results go to stdout, all else (progress, remarks, errors) to stderr, so that output can be piped.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from micrographia.cli.progress import shown_on
from micrographia.engine import Progress

if TYPE_CHECKING:
    from micrographia.workspace import Workspace

Lab = Annotated[Path, typer.Option("--lab", "-l", help="The workspace: a folder made by `init`.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, nothing else.")]

HERE = Path()
PIPE_COLUMNS = 160

LAB_VERBS = ("ingest", "measure", "teach", "tune", "evaluate", "ask", "screen", "export", "run", "status")
"""Those that take ``--lab``."""
_WITHOUT_LAB = re.compile(rf"micrographia (?:{'|'.join(LAB_VERBS)})\b(?![^`]*--lab)")


def say(words: str, style: str = "") -> None:
    """A remark to the person at the terminal. Brackets in it are brackets, not markup."""
    Console(stderr=True, highlight=False).print(words, style=style, markup=False, soft_wrap=True)


def say_nothing(words: str) -> None:
    """What ``--quiet`` says."""


def show(result: Any) -> None:
    """A result in words or as a table; a pipe is taken to be wide."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    console.print(result, soft_wrap=isinstance(result, str), markup=False)


def show_json(result: Mapping[str, Any]) -> None:
    """A result for a script."""
    typer.echo(json.dumps(result, ensure_ascii=False, allow_nan=False))


def with_lab(words: str, lab: Path) -> str:
    """The words, their commands for this workspace: rooms do not know that ``--lab`` was given."""
    if lab == HERE:
        return words
    return _WITHOUT_LAB.sub(lambda found: f"{found[0]} --lab {shlex.quote(str(lab))}", words)


@contextmanager
def at_work(lab: Path, quiet: bool) -> Iterator[tuple[Workspace, Progress]]:
    """The workspace and the progress of one verb."""
    from micrographia.workspace import open_workspace

    with open_workspace(lab) as workspace, shown_on(Console(stderr=True), quiet) as progress:
        yield workspace, progress
