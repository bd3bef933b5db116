"""``micrographia export``: a student as an adapter of any rank, and whole, for other programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from micrographia.cli.ask import Student
from micrographia.cli.console import HERE, AsJson, Lab, Quiet, at_work, say, show_json, with_lab
from micrographia.cli.status import outdated


def export(
    to: Annotated[Path, typer.Option("--to", help="A folder that is new or empty.", show_default=False)],
    rank: Annotated[
        int | None,
        typer.Option("--rank", "-r", help="Of the adapter: any it was tuned for; otherwise the highest."),
    ] = None,
    lab: Lab = HERE,
    student: Student = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a tuned student as a LoRA adapter of any rank that PEFT and vLLM load, and as a whole model.

    adapter/ is the LoRA, base/ the model that it belongs to, merged/ both in one: a student that `ask` takes.
    A low rank is small and quick, a high one closest to what was learned; with dyqlora_fa one tuning has all
    from tune.low_rank.lowest_rank to rank, with lora, rslora, dora and qlora only its own. A student
    that learned whole has none, and its folder is all of it: MVaEMa, and one of method full, which LLaVA has
    with a small language model of our own.

    Before anything is kept, all are loaded again from their files and must answer questions about validation
    images just as the student does, and every tensor must find its place. Otherwise nothing is left behind,
    and the exit status is 1.

    Example: micrographia export --lab my-lab --rank 8 --to rank-8

    Next: micrographia ask --lab my-lab --student rank-8/merged IMAGE
    """
    from micrographia.assistant.export import export

    with at_work(lab, quiet) as (workspace, progress):
        if not (quiet or student) and (reason := outdated(workspace, None)):
            say(f"{workspace.student_folder(None).name}: {with_lab(reason, lab)}")
        made = export(workspace, to, rank, student, progress)
    if as_json:
        show_json({"folder": str(to), **asdict(made)})
    if not quiet:
        difference = max(made.adapter_difference, made.merged_difference)
        say(
            f"{to}: rank {made.rank}; all {made.tensors} tensors of the adapter have their places; "
            f"{made.probes} probes are answered alike, their logits differ by at most {difference:.1g}"
        )
