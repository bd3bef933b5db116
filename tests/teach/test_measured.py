"""Answers state what is known, all of it, in varied words, and nothing without a claim."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micrographia.teach.claims import read_claims
from micrographia.teach.generate import conversations
from micrographia.teach.measured import MeasuredTeacher, in_plain_words, stated_facts, wordings
from micrographia.teach.questions import LENGTHS, load, shipped
from tests.measure.drawn import bars, discs, stripes
from tests.teach.records import facts, micrograph, sizes

MANY = 10_000
TEACHER = MeasuredTeacher()
SETS = tuple(load(name) for name in shipped())
IMAGES = {
    "aligned": stripes(45),
    "spots": discs(12),
    "lines": bars(4),
    "even": np.full((80, 80), 130, np.uint8),
    "small": np.zeros((20, 20), np.uint8),
}
KNOWN = {"bare": {}, "unlabelled": {"label": None}, "header": {"pixel_size_nm": 3.1, "technique": "SEM"}}


def cases():
    for image in IMAGES:
        for known in KNOWN:
            yield pytest.param(IMAGES[image], KNOWN[known], id=f"{image}-{known}")


def taught(image, known, seed=0):
    return list(conversations(micrograph(**known), known_of(image, known), SETS, TEACHER, seed))


def known_of(image, known):
    return facts(image, sizes(), **known)


def sentences(conversation):
    """(start, end) of each sentence of the answer."""
    starts = [0, *(m.end() for m in re.finditer(r"\. ", conversation.answer))]
    return list(zip(starts, [*starts[1:], len(conversation.answer)], strict=True))


@pytest.mark.parametrize(("image", "known"), list(cases()))
def test_every_sentence_rests_on_a_claim_and_every_claim_is_where_it_says(image, known):
    found = known_of(image, known)
    for conversation in taught(image, known):
        for claim in conversation.claims:
            words = conversation.answer[claim.start : claim.end]
            stated = read_claims(words, [claim.subject], [found["class"].value] if "class" in found else [])
            assert stated == {claim.subject: claim.value}, conversation.answer
            assert (found[claim.subject].value, found[claim.subject].kind) == (claim.value, claim.kind)
        for start, end in sentences(conversation):
            assert any(start <= c.start and c.end <= end for c in conversation.claims), conversation.answer


@pytest.mark.parametrize(("image", "known"), list(cases()))
def test_the_claims_of_an_answer_are_what_it_is_read_to_state(image, known):
    labels = ["rolled-in_scale", "scratches", "Tips"]
    for conversation in taught(image, known):
        record = {claim.subject: claim.value for claim in conversation.claims}
        assert read_claims(conversation.answer, list(record), labels) == record


@pytest.mark.parametrize(("image", "known"), list(cases()))
def test_answers_are_well_formed(image, known):
    for conversation in taught(image, known):
        text = conversation.answer
        if conversation.task == "category" and conversation.length == "short":
            assert text == "rolled-in scale"
            continue
        assert text[0].isupper()
        assert text.endswith(".")
        assert not re.search(r"[{}]|  |\.\.| [.,;]|\. [a-z]|\ba (?!uni)[aeiou]", text), text


def test_a_question_of_which_nothing_is_known_is_not_asked():
    unlabelled = {c.question for c in taught(IMAGES["spots"], {"label": None})}
    assert not unlabelled & {"category", "kind", "defect", "material"}
    assert "caption" in unlabelled


def test_the_same_seed_gives_the_same_words_and_another_gives_others():
    first, again, other = (taught(IMAGES["spots"], {}, seed) for seed in (0, 0, 1))
    assert first == again
    assert len({c.answer for c in other} - {c.answer for c in first}) > 20
    assert not {c.id for c in first} & {c.id for c in other}


def test_words_vary_between_micrographs():
    found, surfaces = facts(IMAGES["spots"]), load("surfaces")
    contrast = surfaces.question("contrast")
    answers = {
        TEACHER.answer(micrograph(identity=f"{i:064d}"), found, surfaces, contrast, "short", 0).text
        for i in range(40)
    }
    assert len(answers) >= 8


@pytest.mark.parametrize(("image", "known"), list(cases()))
def test_wordings_are_short_hold_the_answer_and_state_the_same_facts(image, known):
    found = known_of(image, known)
    for questions in SETS:
        for question in questions.questions:
            for length in LENGTHS:
                texts = wordings(questions, question, found, length, limit=MANY)
                stated = stated_facts(questions, question, found, length)
                if not stated:
                    assert texts == []
                    continue
                if questions.task != "category":
                    assert len(texts) >= 6, (question.id, length)
                record = {fact.subject: fact.value for fact in stated}
                most = (14 if length == "short" else 45) + 20 * question.about_sizes
                assert max(len(text.split()) for text in texts) <= most
                for text in texts[:: max(1, len(texts) // 10)]:
                    assert read_claims(text, list(record), ["rolled-in_scale"]) == record
                if questions.task != "caption":  # more wordings than are listed
                    answer = TEACHER.answer(micrograph(**known), found, questions, question, length, 0)
                    assert answer.text in texts


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300))
def test_wordings_keep_to_their_limit_and_use_every_frame(limit):
    found = facts(IMAGES["aligned"])
    questions = load("caption")
    texts = wordings(questions, questions.questions[0], found, "long", limit)
    frames = 3
    assert 0 < len(texts) <= max(limit, frames)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("image", "known"), list(cases()))
def test_a_question_and_a_class_have_all_their_wordings(image, known):
    found = known_of(image, known)
    for questions in SETS:
        if questions.task == "caption":
            continue
        for question in questions.questions:
            texts = wordings(questions, question, found, "long")
            assert set(texts) == set(wordings(questions, question, found, "long", limit=MANY))


def test_another_texture_gets_other_words():
    rng = np.random.default_rng(0)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=(200, 200)), s) for s in (1.0, 12.0))
    scales = [facts(np.uint8(128 + 30 * f / np.abs(f).max()))["texture scale"].value for f in (fine, coarse)]
    assert scales == ["fine", "coarse"]


def test_a_reason_of_this_image_alone_is_told():
    known = facts(IMAGES["spots"], sizes(refused="all 3 particles are cut"), pixel_size_nm=2.0)
    questions = load("sizes")
    texts = wordings(questions, questions.question("particle-size"), known, "long")
    assert any(text.endswith("because all 3 particles are cut.") for text in texts)
    plain = in_plain_words([known["particle diameter"], known["contrast"]])
    assert plain.text.startswith("The particle size cannot be told from this image, because all 3 particles ")
    assert [claim.subject for claim in plain.claims] == ["particle diameter", "contrast"]
