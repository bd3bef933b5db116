"""The evaluation stage: a student and its baselines sit the same exam; scores, a table and a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from micrographia.assistant import Assistant
from micrographia.engine import SILENT, Progress
from micrographia.errors import StudentError, WorkspaceError
from micrographia.evaluate import exam as exams
from micrographia.evaluate import report as reports
from micrographia.evaluate import scoring
from micrographia.evaluate.exam import Answers, Exam, Training
from micrographia.evaluate.few_shot import sit_shown
from micrographia.evaluate.measured import Examples, chosen, measure_examples
from micrographia.evaluate.metrics import words
from micrographia.evaluate.plots import Curve
from micrographia.measure import METHOD_VERSION
from micrographia.measure.field import SIZES_VERSION
from micrographia.micrographs.display import open_display
from micrographia.records import Conversation, Score
from micrographia.teach.facts import facts_of
from micrographia.teach.generate import current_course, for_a_student
from micrographia.teach.measured import MOST_WORDINGS, wordings
from micrographia.teach.questions import asked
from micrographia.tune.card import Card
from micrographia.workspace import Workspace

TABLE, REPORT, EXAMPLES = "scores.json", "report.html", "examples.json"

VERSION = "3"
"""Counts up when the same answers are scored or shown otherwise."""


@dataclass(frozen=True)
class Evaluation:
    """The scores, and where they lie."""

    scores: tuple[Score, ...]
    report: Path
    table: Path
    """The scores as JSON, with the fingerprint of what they are of."""


def evaluate(workspace: Workspace, fold: int | None = None, progress: Progress = SILENT) -> Evaluation:
    """Ask the student about every test image, score it beside its baselines, and write the report.

    What was answered before is not asked again, and what was scored before is read from its table. Raises
    StudentError where there is no student, or one that has seen an image of the test; WorkspaceError where
    there is nothing to ask.
    """
    assistant = Assistant.load(workspace.student_folder(fold))
    exam = exams.readable(exam_of(workspace, fold or 0), assistant)
    _require_unseen(exam, assistant.card)
    learned = list(workspace.catalog.conversations(current_course(workspace), "train", fold or 0))
    folder, of = workspace.report_folder(fold), _fingerprint(workspace, assistant, exam, learned)
    scores = _read_scores(folder, of)
    if scores is None:
        scores = _score(workspace, fold, assistant, exam, learned, progress)
        _write_scores(folder, of, scores)
    return Evaluation(scores, folder / REPORT, folder / TABLE)


def _score(
    workspace: Workspace,
    fold: int | None,
    assistant: Assistant,
    exam: Exam,
    learned: Sequence[Conversation],
    progress: Progress,
) -> tuple[Score, ...]:
    training = _training(workspace, assistant, fold or 0, learned, progress)
    embeddings = exams.embed(assistant, workspace.objects, exam.micrographs, progress)
    systems = {
        exams.STUDENT: exams.sit(exam, assistant, workspace, False, progress),
        exams.NEAREST: exams.nearest_neighbour(exam, training, embeddings),
        exams.MAJORITY: exams.majority(exam, training),
        exams.BLIND: exams.sit(exam, assistant, workspace, True, progress),
    }
    references = references_of(workspace, exam)
    classes = sorted({*assistant.card.classes, *(m.label for m in exam.micrographs if m.label)})
    shown = sit_shown(exam, assistant, workspace, training, embeddings, progress)
    progress.begin("scoring", len(systems), "systems")
    groups = workspace.catalog.groups()
    scores = tuple(scoring.scores(exam, systems, references, classes, groups))
    if shown is not None:
        scores += tuple(scoring.few_shot_scores(exam, systems[exams.STUDENT], shown.answers, groups, classes))
        _write_examples(workspace.report_folder(fold), shown.examples)
    progress.advance(len(systems))
    progress.end()
    examples = measure_examples(workspace, chosen(exam.micrographs, workspace.recipe.split.seed), progress)
    _write_report(
        workspace, fold, assistant, exam, systems[exams.STUDENT], references, classes, scores, examples
    )
    return scores


def _fingerprint(
    workspace: Workspace, assistant: Assistant, exam: Exam, learned: Sequence[Conversation]
) -> str:
    """sha256 over what decides scores and report: who is asked what, what baselines know, and the scales."""
    group_of = workspace.catalog.groups()
    images = [
        f"{m.id} {m.label} {group_of[m.id]} {len(exam.asked[m.id])} "
        f"{m.scale.model_dump_json()} {m.field} {m.burnt_in}"
        for m in exam.micrographs
    ]
    texts = [f"{c.id} {c.prompt} {c.answer}" for c in (*exam.conversations, *learned)]
    return hashlib.sha256(
        "\n".join([VERSION, SIZES_VERSION, assistant.identity, *images, *texts]).encode()
    ).hexdigest()


def _read_scores(folder: Path, of: str) -> tuple[Score, ...] | None:
    """Those of an earlier run, where they are of the same and the report is there as well."""
    try:
        written = json.loads((folder / TABLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not (folder / REPORT).exists() or written["of"] != of:
        return None
    return tuple(Score.model_validate(row) for row in written["scores"])


def _write_scores(folder: Path, of: str, scores: Sequence[Score]) -> None:
    """Last of all, whole or not at all."""
    draft = (folder / TABLE).with_suffix(".part")
    content = {"of": of, "scores": [s.model_dump() for s in scores]}
    draft.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    draft.replace(folder / TABLE)


def _write_examples(folder: Path, examples: Mapping[str, Sequence[str]]) -> None:
    """Which training images were shown before each test image."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXAMPLES).write_text(json.dumps(examples, indent=1), "utf-8")


def exam_of(workspace: Workspace, fold: int) -> Exam:
    """The test images of a fold and the questions asked about them. Raises WorkspaceError for none."""
    catalog, recipe = workspace.catalog, workspace.recipe
    micrographs = catalog.micrographs("test", fold)
    if not micrographs:
        raise WorkspaceError("no image is in the test part", "ingest more images, or tell fewer to be train")
    conversations = filter(for_a_student, catalog.conversations(current_course(workspace), "test", fold))
    exam = exams.set_exam(micrographs, conversations, recipe.evaluate.questions_per_image, recipe.split.seed)
    if not exam.micrographs:
        raise WorkspaceError(
            "no image of the test part has a conversation", "teach first: micrographia teach"
        )
    return exam


def _require_unseen(exam: Exam, card: Card) -> None:
    seen = {*card.seen}
    known = [m.name for m in exam.micrographs if m.id in seen]
    if known:
        raise StudentError(
            f"the student was tuned with {len(known)} of {len(exam.micrographs)} images that are now the "
            f"test, {known[0]} among them, since they were divided anew",
            "tune again: micrographia tune",
        )


def _training(
    workspace: Workspace,
    assistant: Assistant,
    fold: int,
    learned: Sequence[Conversation],
    progress: Progress,
) -> Training:
    taught = {c.micrographs[0] for c in learned}
    micrographs = [m for m in workspace.catalog.micrographs("train", fold) if m.id in taught]
    return Training(
        micrographs,
        exams.embed(assistant, workspace.objects, micrographs, progress),
        exams.answers_by_question(micrographs, learned),
    )


def references_of(workspace: Workspace, exam: Exam) -> dict[str, list[str]]:
    """Wordings of the facts that each answer should state, the teacher's own first.

    All there are (``measured.wordings``); of a caption MOST_WORDINGS, spread evenly.
    """
    measurements = workspace.catalog.measurements(METHOD_VERSION)
    references = {}
    for micrograph in exam.micrographs:
        facts = facts_of(micrograph, measurements[micrograph.id])
        for conversation in exam.asked[micrograph.id]:
            texts = wordings(*asked(conversation), facts, conversation.length)
            references[conversation.id] = list(dict.fromkeys([conversation.answer, *texts]))
    return references


def _write_report(
    workspace: Workspace,
    fold: int | None,
    assistant: Assistant,
    exam: Exam,
    answers: Answers,
    references: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    scores: tuple[Score, ...],
    examples: Examples,
) -> None:
    folder = workspace.report_folder(fold)
    folder.mkdir(parents=True, exist_ok=True)
    card = assistant.card
    report = reports.Report(
        workspace=workspace.folder.name,
        student=f"{workspace.student_folder(fold).name} ({assistant.identity[:12]})",
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        scores=scores,
        classes=tuple(classes),
        items=tuple(_items(workspace, exam, answers, references, classes)),
        measured=examples.images,
        curves=tuple(_curves(card)),
        counts={
            "training images": card.images,
            "test images": len(exam.micrographs),
            "questions": len(exam.conversations),
            **({"questions too long to be read": exam.too_long} if exam.too_long else {}),
        },
        notes=(
            f"Words of a text are counted after: {words.SIGNATURE}.",
            "References are all wordings of the facts on record; of a caption, which has thousands, "
            f"{MOST_WORDINGS} spread evenly. Facts are those that pixels show: "
            "class, level, direction.",
            "Groups (specimens, look-alikes) are whole in one part of the split.",
            *(f"An example could not be measured: {each}" for each in examples.left_out),
        ),
    )
    reports.write(report, folder / REPORT)


def _items(
    workspace: Workspace,
    exam: Exam,
    answers: Answers,
    references: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> list[reports.Item]:
    checked = scoring.check(exam, answers, classes)

    def exchange(conversation: Conversation) -> reports.Exchange:
        return reports.Exchange(
            task=conversation.task,
            question=conversation.question,
            prompt=conversation.prompt,
            answer=answers[conversation.id].text,
            references=tuple(references[conversation.id][:3]),
            facts=checked[conversation.id],
        )

    return [
        reports.Item(
            id=m.id,
            name=m.name,
            thumbnail=reports.thumbnail(open_display(workspace.objects, m)),
            group=m.group,
            truth=m.label,
            ranking=next((answers[c.id].ranking for c in exam.asked[m.id] if c.task == "category"), ()),
            exchanges=tuple(exchange(c) for c in exam.asked[m.id]),
        )
        for m in exam.micrographs
    ]


def _curves(card: Card) -> list[Curve]:
    """Training and validation loss of both stages."""
    named = (("labels", card.label_curve), ("words", card.curve))
    return [
        Curve(f"{part}, {stage}", f"loss while learning {stage}", *_points(entries, key))
        for stage, entries in named
        for part, key in (("training", "loss"), ("validation", "eval_loss"))
        if any(key in entry for entry in entries)
    ]


def _points(entries: Sequence[Mapping[str, float]], key: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    kept = [(entry["step"], entry[key]) for entry in entries if key in entry]
    return tuple(step for step, _ in kept), tuple(value for _, value in kept)
