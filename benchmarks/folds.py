"""Cross-validation by the way a lab goes: ingest, teach, tune, evaluate; a workspace and a process a fold.

A work folder holds ``taught``, a workspace that is ingested and taught once; a copy of it for every fold, in
which that fold's student is made; and ``FOLD.json`` for every fold that is done, which is written last. A
fold is run again only where that file is missing, or where its recipe or table has changed since.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import yaml

from benchmarks import command
from benchmarks.pooled import MAJORITY, NEAREST, Baseline, Choice, Figures, FoldResult, Reply, Taught
from micrographia import recipe
from micrographia.cli.progress import Lines
from micrographia.errors import RecipeError
from micrographia.workspace import RECIPE, Workspace, open_workspace

if TYPE_CHECKING:
    from micrographia.evaluate.exam import Answers, Exam
    from micrographia.records import Score

FOLDS = 5


class Row(NamedTuple):
    """One image in the table that ingest is given; an empty cell says nothing."""

    file: str
    label: str
    group: str = ""
    part: str = ""


@dataclass(frozen=True)
class Fold:
    """One student to make. The table tells who is tested; or the recipe asks for folds, drawn by ingest."""

    division: str
    number: int
    recipe: str
    """The text of its workspace's recipe."""
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Of its workspace and its result."""
        return f"{self.division}-{self.number}"

    @property
    def made_from(self) -> str:
        """What its result is the result of."""
        return fingerprint(self.recipe, self.rows)


@dataclass(frozen=True)
class Benchmark:
    """A data set, the ways to divide it, and what is worked out."""

    description: str
    images: Path
    layout: str
    """Of the folder of images, for people."""
    recipes: Mapping[str, str]
    """By name; the first is that of the benchmark unless another is asked for."""
    divisions: tuple[str, ...]
    images_in: Callable[[Path], list[Path]]
    folds: Callable[[Sequence[Path], str, Sequence[str], Sequence[int]], list[Fold]]
    """From images, recipe, divisions and numbers of folds."""
    figures: Callable[[Sequence[FoldResult], Taught], Figures]


Saved = TypeVar("Saved", FoldResult, Taught)


def with_sections(text: str, **sections: Mapping[str, object]) -> str:
    """A recipe with these sections in place of its own. Raises RecipeError for a recipe that is wrong."""
    chosen = recipe.parse(text, "the recipe of the benchmark").model_dump(mode="json", exclude_unset=True)
    whole = yaml.safe_dump(chosen | sections, sort_keys=False)
    recipe.parse(whole, "the recipe of the benchmark")
    return whole


def spread(files: Sequence[Path], images_per_class: int | None) -> list[Path]:
    """So many files of each folder, evenly spaced, so that every block and scale keeps some; or all."""
    if images_per_class is None:
        return list(files)
    kept: list[Path] = []
    for folder in sorted({file.parent for file in files}):
        here = [file for file in files if file.parent == folder]
        count = min(images_per_class, len(here))
        kept += [here[i * len(here) // count] for i in range(count)]
    return kept


def fingerprint(recipe_text: str, rows: Sequence[Row]) -> str:
    """Of everything the caller chose; the code is not part of it."""
    return hashlib.sha256(json.dumps([recipe_text, rows]).encode()).hexdigest()


def load(path: Path, kind: type[Saved], made_from: str) -> Saved | None:
    """What an earlier run has left, where it was made from the same."""
    if not path.is_file():
        return None
    saved = kind.model_validate_json(path.read_text(encoding="utf-8"))
    return saved if saved.made_from == made_from else None


def save(path: Path, result: FoldResult | Taught) -> None:
    """Whole or not at all."""
    write(path, result.model_dump_json())


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


# In a process of its own


def run_teach(work: Path, recipe_text: str, rows: Sequence[Row]) -> None:
    """Make the workspace that every fold is copied from."""
    from micrographia.teach.generate import teach

    begin = time.monotonic()
    shutil.rmtree(work / "taught", ignore_errors=True)
    Workspace.create(work / "taught", recipe_text)
    with open_workspace(work / "taught") as workspace:
        take(workspace, rows)
        teach(workspace, Lines(say))
    minutes = (time.monotonic() - begin) / 60
    made_from = fingerprint(recipe_text, rows)
    save(
        work / "taught.json", Taught(made_from=made_from, minutes=minutes, peak_memory_gib=peak_memory_gib())
    )


def run_fold(work: Path, fold: Fold) -> None:
    """Make, examine and save one student."""
    import torch

    from micrographia.evaluate.run import evaluate
    from micrographia.tune.train import tune

    folder = work / fold.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work / "taught", folder)
    (folder / RECIPE).write_text(fold.recipe, encoding="utf-8")
    with open_workspace(folder) as workspace, open_workspace(work / "taught") as taught:
        take(workspace, fold.rows)
        number = fold.number if workspace.recipe.split.folds else None
        begin = time.monotonic()
        tune(workspace, number, Lines(say), say)
        scores = evaluate(workspace, number, Lines(say)).scores
        minutes = (time.monotonic() - begin) / 60
        choices, replies = samples(workspace, number, taught.catalog.clusters())
        parts = workspace.catalog.count_parts(number or 0)
    result = FoldResult(
        division=fold.division,
        number=fold.number,
        made_from=fold.made_from,
        images={part: labels.total() for part, labels in parts.items()},
        minutes=minutes,
        peak_memory_gib=peak_memory_gib(),
        threads=torch.get_num_threads(),
        baselines={name: baseline(scores, name) for name in (NEAREST, MAJORITY)},
        choices=choices,
        replies=replies,
    )
    save(work / f"{fold.name}.json", result)


def take(workspace: Workspace, rows: Sequence[Row]) -> None:
    """Ingest exactly these images, as the table says. Raises ValueError where one was not taken."""
    from micrographia.micrographs.ingest import ingest

    table = workspace.folder / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([Row._fields, *rows])
    summary = ingest(workspace, [Path(row.file) for row in rows], table, progress=Lines(say))
    left_out = [source.path for source in (*summary.refused, *summary.skipped)]
    if left_out or summary.rows_without_file:
        raise ValueError(f"not every image was taken: {[*left_out, *summary.rows_without_file][:5]}")


def samples(
    workspace: Workspace, fold: int | None, clusters: Mapping[str, str]
) -> tuple[tuple[Choice, ...], tuple[Reply, ...]]:
    """The answers that evaluate has just recorded, each as what the figures are summed from.

    Answers on images of one told group, or of one cluster of look-alikes, are of one group; ``clusters`` are
    given, because a workspace that does not bind look-alikes does not know them.
    """
    from micrographia.assistant import Assistant
    from micrographia.engine import SILENT
    from micrographia.evaluate import exam as exams
    from micrographia.evaluate.few_shot import identity_of
    from micrographia.evaluate.run import exam_of, references_of

    assistant = Assistant.load(workspace.student_folder(fold))
    exam = exams.readable(exam_of(workspace, fold or 0), assistant)
    student, blind = (exams.sit(exam, assistant, workspace, unseeing, SILENT) for unseeing in (False, True))
    about = {m.id: (str(m.label), m.group or clusters.get(m.id) or m.id) for m in exam.micrographs}
    references = references_of(workspace, exam)
    training = workspace.catalog.micrographs("train", fold or 0)
    shown = workspace.catalog.answers(identity_of(assistant, training))
    return _choices(exam, student, shown, about), _replies(exam, student, blind, references, about)


def _choices(
    exam: Exam, student: Answers, shown: Answers, about: Mapping[str, tuple[str, str]]
) -> tuple[Choice, ...]:
    """Of each test image; ``about`` is label and group by micrograph."""
    made = []
    for conversation in exam.conversations:
        if conversation.task == "category":
            label, group = about[conversation.micrographs[0]]
            right, *after = (
                answers[conversation.id].ranking[0][0] == label
                for answers in (student, shown)
                if conversation.id in answers
            )
            made.append(
                Choice(label=label, group=group, right=right, shown_right=after[0] if after else None)
            )
    return tuple(made)


def _replies(
    exam: Exam,
    student: Answers,
    blind: Answers,
    references: Mapping[str, Sequence[str]],
    about: Mapping[str, tuple[str, str]],
) -> tuple[Reply, ...]:
    """Of each question and caption; references are the wordings of the same facts."""
    from micrographia.evaluate import scoring
    from micrographia.evaluate.metrics import text
    from micrographia.evaluate.metrics.facts import fact_counts

    asked = [c for c in exam.conversations if c.task in scoring.TASKS]
    found = text.score_texts([student[c.id].text for c in asked], [references[c.id] for c in asked])
    classes = sorted({label for label, _ in about.values()})
    facts, blind_facts = (
        fact_counts([checked[c.id] for c in asked]).astype(int).tolist()
        for checked in (scoring.check(exam, answers, classes) for answers in (student, blind))
    )
    return tuple(
        Reply(
            task=c.task,
            label=about[c.micrographs[0]][0],
            group=about[c.micrographs[0]][1],
            bleu=tuple(found.bleu[i].tolist()),
            rouge_l=float(found.rouge_l[i]),
            facts=tuple(facts[i]),
            blind_facts=tuple(blind_facts[i]),
        )
        for i, c in enumerate(asked)
    )


def baseline(scores: Sequence[Score], system: str) -> Baseline:
    """From the table of evaluate, where its top-1 stands with the number of images."""
    found = next(s for s in scores if s.system == system and s.metric == "top-1")
    return Baseline(right=round(found.value * found.n), asked=found.n)


def peak_memory_gib() -> float:
    """Of this process or the largest of those that it has started."""
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(used) / (2**30 if sys.platform == "darwin" else 2**20)  # Linux gives KiB


def say(line: str) -> None:
    """On stderr: stdout is for the figures."""
    print(line, file=sys.stderr, flush=True)


# The command


def main(benchmark: Benchmark) -> None:
    """Run what is missing, print the figures; exit status 1 where a fold that was asked for has none."""
    parser = _parser(benchmark)
    options = parser.parse_args()
    text = options.recipe.read_text("utf-8") if options.recipe else benchmark.recipes[options.student]
    try:
        files = spread(benchmark.images_in(options.images), options.images_per_class)
        if not files:
            parser.error(f"no {benchmark.layout} in {options.images}: --images says where the data set lies")
        folds = benchmark.folds(files, text, options.division or benchmark.divisions, options.folds)
    except (RecipeError, ValueError) as error:
        parser.error(str(error))
    with work_folder(options.work) as work:
        if options.list_done:
            _list_done(work, folds)
            return
        taught = _teach_once(work, text, folds[0].rows)
        results = [result for fold in folds if (result := _fold_once(work, fold))]
    command.show(benchmark.figures(results, taught), options.json)
    if len(results) < len(folds):
        raise SystemExit(f"{len(folds) - len(results)} of {len(folds)} folds failed: the reasons stand above")


def _parser(benchmark: Benchmark) -> argparse.ArgumentParser:
    parser = command.parser(benchmark.description)
    add = parser.add_argument
    add("--division", action="append", choices=benchmark.divisions, help="only this one; may be repeated")
    add(
        "--folds",
        type=fold_numbers,
        default=tuple(range(FOLDS)),
        metavar="0,1,...",
        help="only these folds of a five-fold division",
    )
    add(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="for workspaces and results, 0.2 GB a fold. What is done there is not done again, so take a new "
        "one after a change of the code. Default: a temporary folder, deleted at the end",
    )
    add(
        "--images",
        type=Path,
        default=benchmark.images,
        metavar="FOLDER",
        help=f"the data set, {benchmark.layout}; default: {benchmark.images}",
    )
    names = tuple(benchmark.recipes)
    add("--student", choices=names, default=names[0], help=f"whose recipe; default: {names[0]}")
    add("--recipe", type=Path, metavar="YAML", help="in place of the recipe at the top of this script")
    add("--images-per-class", type=int, metavar="N", help="only so many, evenly spaced: for a quick try")
    add("--list-done", action="store_true", help="say which folds are done in --work, and do nothing")
    return parser


def fold_numbers(text: str) -> tuple[int, ...]:
    """``0,2`` -> (0, 2). Raises ArgumentTypeError for what is no fold."""
    if not all(part in map(str, range(FOLDS)) for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: folds are numbers from 0 to {FOLDS - 1}, as 0,1,2")
    return tuple(sorted({int(part) for part in text.split(",")}))


@contextmanager
def work_folder(chosen: Path | None) -> Iterator[Path]:
    """The folder asked for, or one that goes again."""
    if chosen:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="micrographia-") as folder:
        yield Path(folder)


def _teach_once(work: Path, chosen: str, labelled: Sequence[Row]) -> Taught:
    # Divided into folds: out of one division, told parts would take over who is not told otherwise.
    text = with_sections(chosen, split={"folds": FOLDS}, tune={}, evaluate={})
    rows = [Row(row.file, row.label) for row in labelled]
    path, made_from = work / "taught.json", fingerprint(text, rows)
    if not load(path, Taught, made_from):
        say("ingest and teach, once for all folds")
        _in_own_process(run_teach, work, text, rows)
    taught = load(path, Taught, made_from)
    if taught is None:
        raise SystemExit("ingest and teach failed: the reason stands above")
    return taught


def _fold_once(work: Path, fold: Fold) -> FoldResult | None:
    path = work / f"{fold.name}.json"
    if not load(path, FoldResult, fold.made_from):
        say(f"\n{fold.name}: {len(fold.rows)} images")
        _in_own_process(run_fold, work, fold)
    result = load(path, FoldResult, fold.made_from)
    if result:
        right = sum(choice.right for choice in result.choices)
        say(f"{fold.name}: top-1 {right} of {len(result.choices)}, {result.minutes:.1f} minutes")
    else:
        say(f"{fold.name} failed")
    return result


def _in_own_process(function: Callable[..., None], *arguments: object) -> None:
    """Its memory is given back at the end, and its crash ends nothing else."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()


def _list_done(work: Path, folds: Sequence[Fold]) -> None:
    for fold in folds:
        result = load(work / f"{fold.name}.json", FoldResult, fold.made_from)
        print(f"{fold.name:16} {f'done in {result.minutes:.1f} minutes' if result else 'to do'}")
