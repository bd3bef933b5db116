"""The teaching stage: conversations about every micrograph of a workspace, one course of them."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from micrographia.engine import SILENT, Progress
from micrographia.errors import WorkLeftOut
from micrographia.measure import METHOD_VERSION
from micrographia.measure.field import SIZES_VERSION
from micrographia.measure.run import measure
from micrographia.records import Conversation, Measurement, Micrograph, Turn
from micrographia.teach.claims import class_names
from micrographia.teach.facts import HEADER, MEASURED, Facts, facts_of, header_line, measured_line
from micrographia.teach.measured import MeasuredTeacher
from micrographia.teach.questions import LENGTHS, Length, Question, QuestionSet, load
from micrographia.teach.teacher import Taught, Teacher
from micrographia.workspace import Workspace

BATCH = 32
"""Micrographs taught between two commits; a killed run loses no more."""


def teach(workspace: Workspace, progress: Progress = SILENT) -> int:
    """Teach every micrograph that has not been through the recipe's course; how many were taught.

    Measures first what is not measured. What is done stays done, so a run that was killed goes on where it
    stopped. Raises RecipeError for a question set that does not exist, WorkspaceError for two classes with
    one name; at the end WorkLeftOut, naming images that could not be measured and so are not taught.
    """
    sets, seed = question_sets(workspace), workspace.recipe.teach.seed
    teacher = MeasuredTeacher()
    class_names(workspace.catalog.labels())
    left_out: WorkLeftOut | None = None
    with_sizes = _ask_for_sizes(sets)
    try:
        measure(workspace, progress, with_sizes)
    except WorkLeftOut as error:
        left_out = error
    course = course_id(teacher, sets, seed)
    known = _measured(workspace, with_sizes)
    missing = [m for m in workspace.catalog.untaught(course) if m.id in known]
    progress.begin("teaching", len(missing), "images")
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        lessons = {m.id: list(conversations(m, facts_of(m, known[m.id]), sets, teacher, seed)) for m in batch}
        workspace.catalog.record_lessons(course, lessons)
        progress.advance(len(batch))
    progress.end()
    if left_out:
        raise left_out
    return len(missing)


def _ask_for_sizes(sets: Sequence[QuestionSet]) -> bool:
    return any(question.about_sizes for questions in sets for question in questions.questions)


def _measured(workspace: Workspace, with_sizes: bool) -> dict[str, tuple[Measurement, ...]]:
    """By micrograph; one that lacks what is asked about is not there."""
    measured = workspace.catalog.measurements(METHOD_VERSION)
    if not with_sizes:
        return measured
    sizes = workspace.catalog.measurements(SIZES_VERSION)
    return {identity: measured[identity] + sizes[identity] for identity in measured.keys() & sizes.keys()}


def question_sets(workspace: Workspace) -> tuple[QuestionSet, ...]:
    """The sets that the recipe names. Raises RecipeError for one that does not exist."""
    return tuple(load(name) for name in workspace.recipe.teach.questions)


def current_course(workspace: Workspace) -> str:
    """The course that the recipe asks for now: whose conversations to tune and evaluate with."""
    return course_id(MeasuredTeacher(), question_sets(workspace), workspace.recipe.teach.seed)


def course_id(teacher: Teacher, sets: Sequence[QuestionSet], seed: int) -> str:
    """What tells one course from another: who teaches, which questions in which version, which seed."""
    sizes = [SIZES_VERSION] if _ask_for_sizes(sets) else []
    return _digest(teacher.name, teacher.version, str(seed), *sorted(s.sha256 for s in sets), *sizes)


def conversations(
    micrograph: Micrograph, facts: Facts, sets: Sequence[QuestionSet], teacher: Teacher, seed: int
) -> Iterator[Conversation]:
    """Every question that the teacher can answer about the micrograph, answered at both lengths."""
    course = course_id(teacher, sets, seed)
    for questions in sets:
        for question in questions.questions:
            for length in LENGTHS:
                taught = teacher.answer(micrograph, facts, questions, question, length, seed)
                if taught:
                    identity = _digest(course, micrograph.id, questions.sha256, question.id, length)
                    phrasing = random.Random(identity).choice(question.ask)
                    prompt = prompt_for(question, facts, phrasing, length)
                    yield _conversation(
                        identity, micrograph, teacher, questions, question, length, prompt, taught
                    )


BRIEFLY = "Answer briefly."
"""What a question for a short answer ends with."""


def prompt_for(question: Question, facts: Facts, phrasing: str, length: Length) -> str:
    """The question as the student gets it: with the header and the sizes, where its answer rests on them."""
    header = [header_line(facts)] if question.about_the_header else []
    sizes = [measured_line(facts)] if question.about_sizes else []
    return " ".join([phrasing, *header, *sizes, *([BRIEFLY] if length == "short" else [])])


def for_a_student(conversation: Conversation) -> bool:
    """Whether a student is to answer it. What rests on header or sizes is answered from the record."""
    return HEADER not in conversation.prompt and MEASURED not in conversation.prompt


def questions_asked(asked: Iterable[Conversation]) -> tuple[tuple[str, ...], ...]:
    """The phrasings of each question that is asked, as a person would ask it; both in alphabetical order."""
    phrasings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for c in asked:
        phrasings[c.question_set, c.question].add(c.prompt.removesuffix(BRIEFLY).strip())
    return tuple(sorted(tuple(sorted(of_question)) for of_question in phrasings.values()))


def _conversation(
    identity: str,
    micrograph: Micrograph,
    teacher: Teacher,
    questions: QuestionSet,
    question: Question,
    length: Length,
    prompt: str,
    taught: Taught,
) -> Conversation:
    return Conversation(
        id=identity,
        micrographs=(micrograph.id,),
        task=questions.task,
        question_set=questions.version,
        question=question.id,
        aspect=question.aspect,
        length=length,
        teacher=f"{teacher.name} {teacher.version}",
        turns=(Turn(role="user", text=prompt), Turn(role="assistant", text=taught.text)),
        claims=taught.claims,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
