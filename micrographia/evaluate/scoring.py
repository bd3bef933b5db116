"""Answers to scores: every figure with its interval by group, for every system alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from micrographia.evaluate import statistics
from micrographia.evaluate.exam import BLIND, STUDENT, Answers, Exam
from micrographia.evaluate.few_shot import SHOWN
from micrographia.evaluate.metrics import text
from micrographia.evaluate.metrics.classification import class_counts, macro_f1, top_k
from micrographia.evaluate.metrics.facts import CheckedFact, check_facts, fact_counts
from micrographia.records import Conversation, Score
from micrographia.teach.claims import read_claims

TASKS = ("caption", "vqa")
CLASSIFICATION, DIFFERENCE = "classification", f"{STUDENT} minus {BLIND}"
FACTS = "facts right (class, level, direction)"

Checked = dict[str, tuple[CheckedFact, ...]]
"""By conversation."""


def facts_of(conversation: Conversation) -> dict[str, str]:
    """What the record says on the subjects of the conversation: value by subject. Only what pixels show:
    limits and headers are right for everyone."""
    return {c.subject: c.value for c in conversation.claims if c.seen}


def check(exam: Exam, answers: Answers, labels: Sequence[str]) -> Checked:
    """Each answer's facts against the record."""
    checked: Checked = {}
    for conversation in exam.conversations:
        record = facts_of(conversation)
        answer = answers.get(conversation.id)
        stated = read_claims(answer.text, record.keys(), labels) if answer else {}
        checked[conversation.id] = check_facts(stated, record)
    return checked


def scores(
    exam: Exam,
    systems: Mapping[str, Answers],
    references: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    groups: Mapping[str, str],
) -> list[Score]:
    """All scores of all systems, and the student's difference to itself blind.

    ``groups`` names for each micrograph the group that it shares with those it is not independent of.
    """
    table = []
    checked = {name: check(exam, answers, classes) for name, answers in systems.items()}
    for name, answers in systems.items():
        table += classification_scores(exam, name, answers, groups, classes)
        for task in TASKS:
            asked = [c for c in exam.conversations if c.task == task]
            if asked:
                table += text_scores(asked, name, answers, references, groups)
                table += fact_scores(asked, name, checked[name], groups)
    return table + _differences(exam, checked, groups)


def classification_scores(
    exam: Exam, system: str, answers: Answers, groups: Mapping[str, str], classes: Sequence[str]
) -> list[Score]:
    """Top-1, top-5 and macro F1 of the category questions."""
    label = {m.id: m.label for m in exam.micrographs}
    asked = [c for c in exam.conversations if c.task == "category" and label[c.micrographs[0]] in classes]
    told = [c for c in asked if c.id in answers and answers[c.id].ranking]
    if not told:
        return []
    truth = [str(label[c.micrographs[0]]) for c in told]
    rankings = [[name for name, _ in answers[c.id].ranking] for c in told]
    by_group = [groups[c.micrographs[0]] for c in told]
    rows = class_counts(truth, [r[0] for r in rankings], classes)
    made = {
        "top-1": statistics.proportion(top_k(truth, rankings, 1), by_group),
        "top-5": statistics.proportion(top_k(truth, rankings, 5), by_group),
        "macro F1": statistics.corpus(rows, by_group, macro_f1),
    }
    unscored = len(asked) - len(told)
    return [interval.score(CLASSIFICATION, metric, system, unscored) for metric, interval in made.items()]


def few_shot_scores(
    exam: Exam, zero: Answers, shown: Answers, groups: Mapping[str, str], classes: Sequence[str]
) -> list[Score]:
    """Classes with examples shown, and the difference of top-1 to the same student without."""
    label = {m.id: m.label for m in exam.micrographs}
    told = [c for c in exam.conversations if c.id in shown and zero[c.id].ranking]
    by_group = [groups[c.micrographs[0]] for c in told]

    def right(answers: Answers) -> NDArray[np.float64]:
        found = [answers[c.id].ranking[0][0] == label[c.micrographs[0]] for c in told]
        return np.column_stack([np.array(found, np.float64), np.ones(len(told))])

    difference = statistics.paired_difference(right(shown), right(zero), by_group, statistics.ratio)
    return [
        *classification_scores(exam, SHOWN, shown, groups, classes),
        difference.score(CLASSIFICATION, "top-1", f"{SHOWN} minus {STUDENT}"),
    ]


def text_scores(
    asked: Sequence[Conversation],
    system: str,
    answers: Answers,
    references: Mapping[str, Sequence[str]],
    groups: Mapping[str, str],
) -> list[Score]:
    """BLEU, ROUGE and METEOR of one task's answers, against the wordings of the same facts."""
    told = [c for c in asked if c.id in answers]
    if not told:
        return []
    task, unscored = told[0].task, len(asked) - len(told)
    by_group = [groups[c.micrographs[0]] for c in told]
    found = text.score_texts([answers[c.id].text for c in told], [references[c.id] for c in told])
    made = {
        text.bleu_name(order): statistics.corpus(found.bleu, by_group, partial(text.bleu, order=order))
        for order in (2, 4)
    }
    each: dict[str, NDArray[np.float64]] = {
        text.rouge_name("1"): found.rouge1,
        text.rouge_name("2"): found.rouge2,
        text.rouge_name("L"): found.rouge_l,
        text.meteor_name(): found.meteor,
    }
    made |= {name: statistics.mean(values, by_group) for name, values in each.items()}
    return [interval.score(task, metric, system, unscored) for metric, interval in made.items()]


def fact_scores(
    asked: Sequence[Conversation], system: str, checked: Checked, groups: Mapping[str, str]
) -> list[Score]:
    """Share of the facts on record that the answers of one task state; what is not answered is not right."""
    with_facts, by_group = _with_facts(asked, groups)
    if not with_facts:
        return []
    counts = fact_counts([checked[c.id] for c in with_facts])
    interval = statistics.proportion(counts[:, 0], by_group, asked=counts[:, 1])
    return [interval.score(with_facts[0].task, FACTS, system)]


def _differences(exam: Exam, checked: Mapping[str, Checked], groups: Mapping[str, str]) -> list[Score]:
    if not {STUDENT, BLIND} <= checked.keys():
        return []
    made = []
    for task in TASKS:
        asked, by_group = _with_facts([c for c in exam.conversations if c.task == task], groups)
        if asked:
            seeing, blind = (fact_counts([checked[name][c.id] for c in asked]) for name in (STUDENT, BLIND))
            interval = statistics.paired_difference(seeing, blind, by_group, statistics.ratio)
            made.append(interval.score(task, FACTS, DIFFERENCE))
    return made


def _with_facts(
    asked: Sequence[Conversation], groups: Mapping[str, str]
) -> tuple[list[Conversation], list[str]]:
    """Those with a fact on record, and the group of each: the others tell nothing, and are not counted."""
    kept = [c for c in asked if facts_of(c)]
    return kept, [groups[c.micrographs[0]] for c in kept]
