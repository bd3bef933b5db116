"""The same exam for the same seed, nothing asked twice, and baselines that say what training holds."""

import numpy as np
import pytest

from micrographia.engine import SILENT
from micrographia.evaluate import exam as room
from micrographia.evaluate.exam import (
    Exam,
    Training,
    answers_by_question,
    embed,
    majority,
    nearest_neighbour,
    readable,
    set_exam,
    sit,
)
from micrographia.micrographs.display import open_display
from micrographia.records import Turn
from micrographia.teach.generate import current_course
from tests.catalog.records import conversation, identity, micrograph

QUESTIONS = 3


def exam_of(workspace, part=None, questions=QUESTIONS, seed=0):
    catalog = workspace.catalog
    conversations = catalog.conversations(current_course(workspace), part)
    return set_exam(catalog.micrographs(part), conversations, questions, seed)


class Stopped(Exception):
    pass


class StopsAfter:
    """Progress of a run that ends after so many batches."""

    def __init__(self, batches):
        self.left = batches

    def begin(self, task, total=None, unit="items"):
        pass

    def advance(self, count=1, note=""):
        self.left -= 1
        if not self.left:
            raise Stopped

    def end(self):
        pass


@pytest.fixture
def watched(assistant, monkeypatch):
    """What the assistant was asked, and of which images, beside its real answers."""
    prompts, images = [], []
    answer = assistant.answer

    def watch(seen, questions, image_index):
        prompts.extend(questions)
        images.extend(seen)
        return answer(seen, questions, image_index)

    monkeypatch.setattr(assistant, "answer", watch)
    return prompts, images


@pytest.fixture
def two_at_once(monkeypatch):
    monkeypatch.setattr(room, "IMAGES_AT_ONCE", 2)


def test_large_images_are_taken_fewer_at_a_time(assistant, workspace, monkeypatch):
    micrographs = workspace.catalog.micrographs()
    one = micrographs[0].width * micrographs[0].height
    looked_at = []

    def embed(images):
        looked_at.append(len(images))
        return np.zeros((len(images), 4), np.float32)

    monkeypatch.setattr(assistant, "embed", embed)
    monkeypatch.setattr("micrographia.engine.BYTES_AT_ONCE", 3 * one)
    room.embed(assistant, workspace.objects, micrographs, SILENT)
    assert sum(looked_at) == len(micrographs)
    assert set(looked_at[1:-1]) == {3}


# What is asked


def test_each_image_is_asked_its_class_a_caption_and_some_questions(workspace):
    exam = exam_of(workspace)
    assert [m.id for m in exam.micrographs] == sorted(exam.asked) and len(exam.micrographs) == 24
    for image, asked in exam.asked.items():
        assert [c.task for c in asked] == ["category", "caption"] + ["vqa"] * QUESTIONS
        assert asked[0].length == "short"
        assert {c.micrographs for c in asked} == {(image,)}
    everything = [c.id for c in exam.conversations]
    assert len(set(everything)) == len(everything) == 24 * (2 + QUESTIONS)


def test_the_same_seed_draws_the_same_and_another_does_not(workspace):
    exam = exam_of(workspace)
    assert exam_of(workspace) == exam
    assert exam_of(workspace, seed=1).asked != exam.asked


def test_images_are_asked_different_things(workspace):
    drawn = {
        tuple((c.question, c.length) for c in asked if c.task == "vqa")
        for asked in exam_of(workspace).asked.values()
    }
    assert len(drawn) > 20


def test_what_an_image_is_asked_does_not_depend_on_the_others(workspace):
    everyone, few = exam_of(workspace), exam_of(workspace, "test")
    assert 0 < len(few.micrographs) < len(everyone.micrographs)
    assert all(everyone.asked[m.id] == few.asked[m.id] for m in few.micrographs)


def test_what_the_student_cannot_read_is_left_out_and_counted(workspace, assistant):
    """A header with a long word of the lab's own, in a test image alone."""
    exam = exam_of(workspace)
    first, second = list(exam.asked)[:2]
    long = conversation(1, about=1)
    turns = (Turn(role="user", text="Ångström " * 300), long.turns[1])
    asked = exam.asked | {first: [long.model_copy(update={"turns": turns})], second: exam.asked[second]}
    left = readable(Exam(exam.micrographs, asked), assistant)
    assert left.too_long == 1
    assert first not in {m.id for m in left.micrographs} and left.asked[second] == asked[second]
    sit(left, assistant, workspace, False, SILENT)


def test_where_there_are_fewer_questions_all_are_asked_once():
    there = [conversation(n, about=1) for n in range(3)]
    exam = set_exam([micrograph(1), micrograph(2)], there, 10, seed=0)
    assert sorted(c.id for c in exam.conversations) == sorted(c.id for c in there)
    assert [m.id for m in exam.micrographs] == [identity(1)]  # of the other nothing can be asked


# The student


def test_an_answer_is_what_the_student_says_of_this_image_and_question_alone(
    workspace, assistant, two_at_once
):
    exam = exam_of(workspace, "test", 12)
    answers = sit(exam, assistant, workspace, False, SILENT)
    assert list(answers) == [c.id for c in exam.conversations]
    for m in exam.micrographs:
        image = open_display(workspace.objects, m)
        for c in exam.asked[m.id]:
            said = answers[c.id]
            assert (said.micrograph, said.student, said.question) == (m.id, assistant.identity, c.prompt)
            assert said.text == assistant.answer([image], [c.prompt])[0]
            alone = dict(assistant.classify([image])[0]) if c.task == "category" else {}
            assert dict(said.ranking) == pytest.approx(alone, abs=1e-5)
    assert len({a.text for a in answers.values()}) > 5  # or the comparison shows little
    assert len({a.ranking for a in answers.values()}) > len(exam.micrographs)


def test_what_was_answered_is_not_asked_again(workspace, assistant, watched):
    exam = exam_of(workspace, "test")
    first = sit(exam, assistant, workspace, False, SILENT)
    prompts, _ = watched
    assert len(prompts) == len(exam.conversations)
    assert sit(exam, assistant, workspace, False, SILENT) == first
    assert len(prompts) == len(exam.conversations)
    assert workspace.catalog.answers(assistant.identity) == first


@pytest.mark.parametrize("blind", [False, True])
def test_a_stopped_exam_goes_on_where_it_was(workspace, assistant, watched, two_at_once, blind):
    exam = exam_of(workspace, "test")
    prompts, images = watched
    with pytest.raises(Stopped):
        sit(exam, assistant, workspace, blind, StopsAfter(2))
    assert len(images) == 4 < len(exam.micrographs)
    answers = sit(exam, assistant, workspace, blind, SILENT)
    assert len(images) == len(exam.micrographs)
    assert sorted(prompts) == sorted(c.prompt for c in exam.conversations)
    assert list(answers) == [c.id for c in exam.conversations]


def test_of_a_longer_exam_only_what_is_new_is_asked(workspace, assistant, watched):
    short, long = exam_of(workspace, "test", 1), exam_of(workspace, "test", 4)
    prompts, _ = watched
    before = sit(short, assistant, workspace, False, SILENT)
    del prompts[:]
    after = sit(long, assistant, workspace, False, SILENT)
    assert sorted(prompts) == sorted(c.prompt for c in long.conversations if c.id not in before)
    kept = before.keys() & after.keys()
    assert 0 < len(prompts) < len(long.conversations)
    assert all(before[c] == after[c] for c in kept)


def test_the_blind_student_sees_noise_and_its_answers_are_kept_apart(workspace, assistant, watched):
    exam = exam_of(workspace, "test")
    _, images = watched
    seeing = sit(exam, assistant, workspace, False, SILENT)
    blind = sit(exam, assistant, workspace, True, SILENT)
    (name,) = {answer.student for answer in blind.values()}
    assert name != assistant.identity
    assert workspace.catalog.answers(assistant.identity) == seeing
    assert workspace.catalog.answers(name) == blind
    assert {c: a.text for c, a in blind.items()} != {c: a.text for c, a in seeing.items()}
    assert blind.keys() == seeing.keys()
    shown, noise = images[: len(exam.micrographs)], images[len(exam.micrographs) :]
    for m, image, instead in zip(exam.micrographs, shown, noise, strict=True):
        np.testing.assert_array_equal(image, open_display(workspace.objects, m))
        assert instead.shape == image.shape
        assert abs(np.corrcoef(instead[:, :-1].ravel(), instead[:, 1:].ravel())[0, 1]) < 0.05
    assert not np.array_equal(noise[0], noise[1])


def test_the_blind_student_of_another_run_sees_the_same_noise(workspace, assistant, watched, two_at_once):
    exam, (_, images) = exam_of(workspace, "test"), watched
    sit(exam, assistant, workspace, True, SILENT)
    last = Exam(exam.micrographs[-1:], exam_of(workspace, "test", 10).asked)
    sit(last, assistant, workspace, True, SILENT)
    np.testing.assert_array_equal(images[-1], images[-2])


# The baselines


def about(number, text, question="q0", task="vqa", length="short"):
    """A conversation about micrograph ``number`` in which ``text`` is the answer."""
    made = conversation(question, number, task)
    turns = (Turn(role="user", text="What?"), Turn(role="assistant", text=text))
    identity_of = conversation(f"{question} {length}", number, task).id
    return made.model_copy(update={"id": identity_of, "question": question, "length": length, "turns": turns})


TRAINING_IMAGES = [
    micrograph(4),
    micrograph(1, label="pores"),
    micrograph(2, label="fibres"),
    micrograph(3, label="fibres"),
]
TRAINING = Training(
    TRAINING_IMAGES,
    np.array([[0.9, -0.1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32),
    answers_by_question(
        TRAINING_IMAGES,
        [
            *(about(1, "Pores.", "class", "category"), about(2, "Fibres.", "class", "category")),
            about(3, "Fibres.", "class", "category"),
            *(about(2, "Rough."), about(3, "Smooth."), about(4, "Smooth.")),
            about(1, "It is as rough as can be.", length="long"),
            *(about(1, "B.", "tie"), about(2, "A.", "tie")),
            *(
                about(1, "Near.", "second only"),
                about(3, "Far.", "second only"),
                about(2, "Far.", "second only"),
            ),
        ],
    ),
)
NEAR_PORES, NEAR_THIRD = micrograph(11, label="pores"), micrograph(12)
ASKED = {
    NEAR_PORES.id: [
        *(about(11, "?", "class", "category"), about(11, "?"), about(11, "?", length="long")),
        about(11, "?", "tie"),
    ],
    NEAR_THIRD.id: [
        *(about(12, "?", "class", "category"), about(12, "?"), about(12, "?", "never taught")),
        about(12, "?", "second only"),
    ],
}
EXAM = Exam([NEAR_PORES, NEAR_THIRD], ASKED)


def said(answers):
    """Text by image and question."""
    return {
        (11 if c.micrographs[0] == NEAR_PORES.id else 12, c.question, c.length): answers[c.id].text
        for c in EXAM.conversations
        if c.id in answers
    }


def rankings(answers):
    return [answers[c.id].ranking for c in EXAM.conversations if c.task == "category"]


def test_the_nearest_neighbour_that_was_asked_the_same_answers():
    answers = nearest_neighbour(EXAM, TRAINING, np.array([[2, 0.3, 0], [0, 0.1, 1]], dtype=np.float32))
    assert said(answers) == {
        (11, "class", "short"): "Pores.",
        (11, "q0", "short"): "Smooth.",  # of image 4: the nearest, 1, was not asked
        (11, "q0", "long"): "It is as rough as can be.",
        (11, "tie", "short"): "B.",
        (12, "class", "short"): "Fibres.",
        (12, "q0", "short"): "Smooth.",
        (12, "second only", "short"): "Far.",
    }
    assert rankings(answers) == [(("pores", 1.0), ("fibres", 0.0)), (("fibres", 1.0), ("pores", 0.0))]
    assert {a.student for a in answers.values()} == {room.NEAREST}
    assert all(a.ranking == () for a in answers.values() if a.text not in ("Pores.", "Fibres."))


def test_the_majority_says_what_training_says_most_and_ties_are_settled_by_the_alphabet():
    answers = majority(EXAM, TRAINING)
    assert said(answers) == {
        (11, "class", "short"): "Fibres.",
        (11, "q0", "short"): "Smooth.",
        (11, "q0", "long"): "It is as rough as can be.",
        (11, "tie", "short"): "A.",
        (12, "class", "short"): "Fibres.",
        (12, "q0", "short"): "Smooth.",
        (12, "second only", "short"): "Far.",
    }
    assert rankings(answers) == [(("fibres", 2 / 3), ("pores", 1 / 3))] * 2
    assert {a.student for a in answers.values()} == {room.MAJORITY}


def test_where_training_holds_nothing_the_baselines_say_nothing():
    nothing = Training([], np.empty((0, 3), dtype=np.float32), {})
    assert nearest_neighbour(EXAM, nothing, np.ones((2, 3), dtype=np.float32)) == {}
    assert majority(EXAM, nothing) == {}


def test_answers_stand_in_the_row_of_their_image():
    assert TRAINING.answers["textures 1 class short"] == [None, "Pores.", "Fibres.", "Fibres."]
    assert TRAINING.answers["textures 1 q0 long"] == [None, "It is as rough as can be.", None, None]


def test_embeddings_are_those_of_each_image_in_order(workspace, assistant, two_at_once):
    micrographs = workspace.catalog.micrographs("test")[:3]
    rows = embed(assistant, workspace.objects, micrographs, SILENT)
    alone = [assistant.embed([open_display(workspace.objects, m)])[0] for m in micrographs]
    np.testing.assert_allclose(rows, alone, atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)
    assert len(embed(assistant, workspace.objects, [], SILENT)) == 0
