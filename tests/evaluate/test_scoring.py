"""Figures that can be worked out by hand, over the questions and the groups that they are said to be over."""

import pytest

from micrographia.evaluate import scoring
from micrographia.evaluate.exam import BLIND, NEAREST, STUDENT, Exam, set_exam
from micrographia.evaluate.metrics import text
from micrographia.evaluate.scoring import CLASSIFICATION, DIFFERENCE, FACTS
from micrographia.records import CANNOT_TELL, Answer, Claim, Turn
from micrographia.teach.generate import current_course
from tests.catalog.records import conversation, micrograph

CLASSES = ("Fibres", "Pores", "Powder")


def claim(subject, value, kind="measured"):
    return Claim(kind=kind, subject=subject, value=value, evidence="made up", start=0, end=0)


def asks(about, question, answer, claims=(), task="vqa"):
    made = conversation(question, about, task)
    turns = (Turn(role="user", text="What?"), Turn(role="assistant", text=answer))
    return made.model_copy(update={"turns": turns, "claims": tuple(claims)})


def contrast(about, level):
    return asks(about, "contrast", f"{level.capitalize()} contrast.", [claim("contrast", level)])


def category(about):
    return asks(about, "class", "Fibres.", [claim("class", "Fibres", "label")], "category")


def exam_of(micrographs, conversations):
    return set_exam(micrographs, conversations, questions_per_image=10, seed=0)


def say(conversations, texts, ranking=()):
    """Answers in the order of the conversations; None is no answer."""
    return {
        c.id: Answer(micrograph=c.micrographs[0], student="s", question=c.prompt, text=said, ranking=ranking)
        for c, said in zip(conversations, texts, strict=True)
        if said is not None
    }


def scored(exam, systems, groups=None, references=None):
    """Score by system, task and metric."""
    groups = groups or {m.id: m.id for m in exam.micrographs}
    references = references or {c.id: [c.answer] for c in exam.conversations}
    made = scoring.scores(exam, systems, references, CLASSES, groups)
    by_name = {(s.system, s.task, s.metric): s for s in made}
    assert len(by_name) == len(made)
    return by_name


# Facts


def test_facts_are_what_pixels_show_and_limits_and_headers_are_not():
    claims = [
        *(claim("class", "Pores", "label"), claim("contrast", "high"), claim("relief", CANNOT_TELL)),
        *(claim("voltage", "5 kV", "metadata"), claim("height", CANNOT_TELL, "limit")),
    ]
    assert scoring.facts_of(asks(1, "q", "?", claims)) == {"class": "Pores", "contrast": "high"}


def test_a_fact_is_right_wrong_or_missing():
    claims = [claim("class", "Pores", "label"), claim("contrast", "high"), claim("relief", "rough")]
    asked = asks(1, "q", "?", claims)
    exam = exam_of([micrograph(1)], [asked])
    said = say([asked], ["Strong contrast: this is powder."])
    (facts,) = scoring.check(exam, said, CLASSES).values()
    assert [(f.subject, f.verdict) for f in facts] == [
        ("class", "wrong"),
        ("contrast", "right"),
        ("relief", "missing"),
    ]
    (nothing,) = scoring.check(exam, {}, CLASSES).values()
    assert [f.verdict for f in nothing] == ["missing"] * 3


def test_facts_right_are_counted_over_facts_not_over_answers():
    two = asks(1, "q", "?", [claim("contrast", "high"), claim("relief", "rough")])
    asked = [two, contrast(2, "low"), contrast(3, "low")]
    exam = exam_of([micrograph(i) for i in (1, 2, 3)], asked)
    answers = say(asked, ["High contrast, a rough look.", "Weak contrast.", "High contrast."])
    score = scored(exam, {STUDENT: answers})[STUDENT, "vqa", FACTS]
    assert score.value == pytest.approx(3 / 4)
    assert score.low < 3 / 4 < score.high
    assert (score.n, score.groups) == (3, 3)


def test_questions_without_a_fact_are_not_counted():
    limit = asks(3, "height", "The height cannot be told.", [claim("height", CANNOT_TELL, "limit")])
    asked = [contrast(1, "low"), contrast(2, "low"), limit]
    exam = exam_of([micrograph(i) for i in (1, 2, 3)], asked)
    seeing = say(asked, ["Low contrast."] * 3)
    blind = say(asked, ["Low contrast.", "High contrast.", "?"])
    scores = scored(exam, {STUDENT: seeing, BLIND: blind})
    for system in (STUDENT, BLIND, DIFFERENCE):
        assert (scores[system, "vqa", FACTS].n, scores[system, "vqa", FACTS].groups) == (2, 2)
    only_limits = exam_of([micrograph(3)], [limit])
    assert not [k for k in scored(only_limits, {STUDENT: seeing, BLIND: blind}) if k[2] == FACTS]


def test_what_is_not_answered_is_not_right():
    asked = [contrast(i, "low") for i in (1, 2, 3, 4)]
    exam = exam_of([micrograph(i) for i in (1, 2, 3, 4)], asked)
    scores = scored(exam, {NEAREST: say(asked, ["Low contrast.", None, None, "Low contrast."])})
    assert scores[NEAREST, "vqa", FACTS].value == pytest.approx(0.5)
    assert scores[NEAREST, "vqa", FACTS].n == 4


# The difference


def test_the_difference_is_between_the_student_and_itself_blind():
    asked = [contrast(i, "low") for i in range(4)]
    exam = exam_of([micrograph(i) for i in range(4)], asked)
    right, wrong = "Low contrast.", "High contrast."
    systems = {
        STUDENT: say(asked, [right, right, right, wrong]),
        NEAREST: say(asked, [wrong] * 4),
        BLIND: say(asked, [right, wrong, wrong, wrong]),
    }
    scores = scored(exam, systems)
    assert scores[DIFFERENCE, "vqa", FACTS].value == pytest.approx(3 / 4 - 1 / 4)
    assert scores[DIFFERENCE, "vqa", FACTS].low < 0.5 < scores[DIFFERENCE, "vqa", FACTS].high
    swapped = scored(exam, {STUDENT: systems[BLIND], BLIND: systems[STUDENT]})
    assert swapped[DIFFERENCE, "vqa", FACTS].value == pytest.approx(-0.5)
    assert list(scores)[-1] == (DIFFERENCE, "vqa", FACTS)


def test_the_difference_is_paired_by_question():
    """The same errors on the same images: there is no difference, whatever images that differ were missed."""
    asked = [contrast(i, "low") for i in range(6)]
    exam = exam_of([micrograph(i) for i in range(6)], asked)
    answers = say(asked, ["Low contrast.", "High contrast."] * 3)
    difference = scored(exam, {STUDENT: answers, BLIND: answers})[DIFFERENCE, "vqa", FACTS]
    missed = 1 - 0.025 ** (1 / 6)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0, -missed, missed))


def test_without_a_blind_student_there_is_no_difference():
    asked = [contrast(i, "low") for i in (1, 2)]
    answers = say(asked, ["Low contrast."] * 2)
    exam = exam_of([micrograph(1), micrograph(2)], asked)
    assert {system for system, _, _ in scored(exam, {STUDENT: answers, NEAREST: answers})} == {
        STUDENT,
        NEAREST,
    }


# Groups


def test_images_of_one_group_count_as_one():
    asked = [contrast(i, "low") for i in range(6)] + [category(i) for i in range(6)]
    micrographs = [micrograph(i, label="Fibres") for i in range(6)]
    exam = exam_of(micrographs, asked)
    answers = say(asked, ["Low contrast.", "High contrast."] * 6, (("Fibres", 1.0),))
    together = {m.id: f"specimen {i // 3}" for i, m in enumerate(micrographs)}
    apart = scored(exam, {STUDENT: answers, BLIND: answers})
    bound = scored(exam, {STUDENT: answers, BLIND: answers}, together)
    assert {s.groups for s in apart.values()} == {6}
    assert {s.groups for s in bound.values()} == {2}
    assert {s.n for s in bound.values()} == {6}
    assert bound.keys() == apart.keys()
    assert all(bound[name].value == score.value for name, score in apart.items())


# Classes


def ranked(*names):
    return tuple(zip(names, (0.7, 0.2, 0.1), strict=True))


def classified(labels, rankings):
    """Scores of classification for images with these labels and answers (None: no answer)."""
    micrographs = [micrograph(i, label=label) for i, label in enumerate(labels)]
    asked = [category(i) for i in range(len(labels))]
    answers = {}
    for c, ranking in zip(asked, rankings, strict=True):
        if ranking is not None:
            answers |= say([c], ["?"], ranking)
    made = scored(exam_of(micrographs, asked), {STUDENT: answers})
    return {metric: score for (_, task, metric), score in made.items() if task == CLASSIFICATION}


def test_classes_are_judged_by_the_ranking_not_by_the_words():
    first, second = ranked("Fibres", "Pores", "Powder"), ranked("Pores", "Fibres", "Powder")
    scores = classified(["Fibres", "Pores", "Fibres", "Powder"], [first, second, second, first])
    assert scores["top-1"].value == pytest.approx(2 / 4)
    assert scores["top-5"].value == 1
    # F1: Fibres 2·1/(2+2), Pores 2·1/(1+2), Powder 0 of one
    assert scores["macro F1"].value == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert {(s.n, s.groups, s.unscored) for s in scores.values()} == {(4, 4, 0)}


def test_top_5_ends_after_five():
    six = tuple((name, 1 / 6) for name in ("a", "b", "c", "d", "Pores", "Fibres"))
    scores = classified(["Fibres", "Pores"], [six, six])
    assert (scores["top-1"].value, scores["top-5"].value) == (0, 0.5)


def test_images_without_a_class_are_not_judged_and_missing_rankings_are_told():
    known = ranked("Fibres", "Pores", "Powder")
    scores = classified(["Fibres", None, "Pores", "Fibres"], [known, known, None, ()])
    assert {(s.n, s.unscored) for s in scores.values()} == {(1, 2)}
    assert scores["top-1"].value == 1


def test_a_class_that_the_student_never_learned_is_wrong_not_left_out():
    scores = classified(["Powder", "Fibres"], [(("Fibres", 1.0),), (("Fibres", 1.0),)])
    assert scores["top-1"].value == scores["top-5"].value == pytest.approx(0.5)
    assert scores["top-1"].unscored == 0


def test_who_gives_no_ranking_has_no_score():
    assert classified(["Fibres", "Pores"], [(), ()]) == {}


# Words

TEXT_METRICS = [
    *(text.bleu_name(2), text.bleu_name(4), text.rouge_name("1"), text.rouge_name("2")),
    *(text.rouge_name("L"), text.meteor_name()),
]


def test_words_are_compared_with_every_wording():
    asked = [asks(i, "q", "one of the wordings") for i in (1, 2)]
    exam = exam_of([micrograph(1), micrograph(2)], asked)
    references = {c.id: ["Something else altogether here.", "The contrast is quite low."] for c in asked}
    answers = say(asked, ["The contrast is quite low.", "Nothing alike."])
    scores = scored(exam, {STUDENT: answers}, references=references)
    for metric in TEXT_METRICS[2:5]:
        assert scores[STUDENT, "vqa", metric].value == pytest.approx(0.5)
    same = scored(exam, {STUDENT: say(asked, ["The contrast is quite low."] * 2)}, references=references)
    assert same[STUDENT, "vqa", TEXT_METRICS[1]].value == pytest.approx(1)
    assert 0 < scores[STUDENT, "vqa", TEXT_METRICS[0]].value < 1


def test_unanswered_questions_are_told():
    asked = [contrast(i, "low") for i in (1, 2, 3)]
    exam = exam_of([micrograph(i) for i in (1, 2, 3)], asked)
    scores = scored(exam, {NEAREST: say(asked, ["Low contrast.", None, None])})
    for metric in TEXT_METRICS:
        assert (scores[NEAREST, "vqa", metric].n, scores[NEAREST, "vqa", metric].unscored) == (1, 2)
    assert not [k for k in scored(exam, {NEAREST: {}}) if k[2] in TEXT_METRICS]


def test_captions_and_questions_are_scored_apart_and_classes_not_by_words():
    caption = asks(1, "caption", "Fibres.", [claim("class", "Fibres", "label")], "caption")
    asked = [contrast(1, "low"), caption, category(1)]
    exam = Exam([micrograph(1, label="Fibres")], {micrograph(1).id: asked})
    answers = say(asked, ["High contrast.", "Fibres.", "Fibres."], (("Fibres", 1.0),))
    scores = scored(exam, {STUDENT: answers})
    assert scores[STUDENT, "vqa", FACTS].value == 0
    assert scores[STUDENT, "caption", FACTS].value == 1
    assert [metric for _, task, metric in scores if task == "caption"] == [*TEXT_METRICS, FACTS]
    assert [metric for _, task, metric in scores if task == CLASSIFICATION] == ["top-1", "top-5", "macro F1"]


# What the teacher writes


def test_the_teachers_own_answers_are_right_and_those_of_another_image_less_so(workspace):
    conversations = list(workspace.catalog.conversations(current_course(workspace)))
    exam = set_exam(workspace.catalog.micrographs(), conversations, 20, seed=0)
    classes = workspace.catalog.labels()
    groups = {m.id: m.id for m in exam.micrographs}
    own = say(exam.conversations, [c.answer for c in exam.conversations])
    answer_of = {(c.micrographs[0], c.question, c.length): c.answer for c in conversations}
    ids = [m.id for m in exam.micrographs]
    next_one = dict(zip(ids, [*ids[1:], ids[0]], strict=True))
    others = say(
        exam.conversations,
        [answer_of[next_one[c.micrographs[0]], c.question, c.length] for c in exam.conversations],
    )
    references = {c.id: [c.answer] for c in exam.conversations}
    made = scoring.scores(exam, {STUDENT: own, BLIND: others}, references, classes, groups)
    facts = {(s.system, s.task): s.value for s in made if s.metric == FACTS}
    for task in ("caption", "vqa"):
        assert facts[STUDENT, task] == 1
        assert 0.1 < facts[BLIND, task] < 0.95
        assert facts[DIFFERENCE, task] == pytest.approx(1 - facts[BLIND, task])
