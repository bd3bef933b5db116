"""The command line: one thin file a verb, which parses, calls and prints. Rooms load when a verb runs."""

import logging
import os
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from micrographia import __version__
from micrographia.cli.ask import ask
from micrographia.cli.compare_measurements import compare_measurements
from micrographia.cli.console import HERE, say, with_lab
from micrographia.cli.evaluate import evaluate
from micrographia.cli.export import export
from micrographia.cli.ingest import ingest
from micrographia.cli.init import init
from micrographia.cli.measure import measure
from micrographia.cli.quickstart import quickstart
from micrographia.cli.run import run
from micrographia.cli.screen import screen
from micrographia.cli.status import status
from micrographia.cli.teach import teach
from micrographia.cli.tune import tune
from micrographia.errors import MicrographiaError, RecipeError

__all__ = ["app"]

LIBRARIES = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""No bars between ours, and nothing told to anybody."""


class Verbs(TyperGroup):
    """What a user can mend is said in one line; a traceback is left for what only we can mend."""

    def invoke(self, ctx: Any) -> Any:
        """Exit status 1: something asked for was not done; 2: recipe or options; 130: interrupted."""
        try:
            return super().invoke(ctx)
        except MicrographiaError as error:
            say(f"error: {error}", style="bold red")
            raise typer.Exit(2 if isinstance(error, RecipeError) else 1) from None
        except KeyboardInterrupt:
            say("interrupted: what was done is kept, and the next run goes on from there")
            raise typer.Exit(130) from None


class Verb(TyperCommand):
    """A command that a remedy names can be copied as it stands: it is for the workspace that was given."""

    def invoke(self, ctx: Any) -> Any:
        """Raises what the verb raises."""
        try:
            return super().invoke(ctx)
        except MicrographiaError as error:
            error.remedy = with_lab(error.remedy, Path(ctx.params.get("lab", HERE)))
            raise


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "See it first: [bold]micrographia quickstart[/]. Then with your own images: "
        "[bold]micrographia init LAB[/], [bold]micrographia run --lab LAB IMAGES[/], "
        "[bold]micrographia ask --lab LAB IMAGE[/]."
    ),
)

for verb in (
    *(init, ingest, measure, teach, tune, evaluate, ask, screen, export, run, quickstart, status),
    compare_measurements,
):
    app.command(cls=Verb)(verb)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"micrographia {__version__}")
        raise typer.Exit


@app.callback()
def micrographia(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version, and stop."),
    ] = False,
) -> None:
    """A lab's micrographs in; a small private assistant for them out.

    The verbs stand in the order of the work; each goes on where it was stopped.

    Exit status: 0 all done, 1 something asked for was not done, 2 wrong recipe or option, 130 interrupted.
    """
    os.environ.update(LIBRARIES)
    _hush()


def _hush() -> None:
    """Keep what libraries say to their developers from between our lines."""
    warnings.filterwarnings(
        "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
    )  # PEFT reads it
    logging.getLogger("transformers.trainer_utils").addFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Not that checkpoints are ordered by their numbers, which is as good as by time."""
    return "mtime may not be reliable" not in record.getMessage()
