"""Questions about several images: each image counts, and so does which of them comes first."""

import pytest
import torch
import torch.nn.functional as F

from micrographia.errors import StudentError
from micrographia.students import scoring
from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.side_by_side import NO_IMAGE, marks, side_by_side

from .tiny import EOS, pictures, questions, tiny_config, tiny_student, words

LABELS = torch.tensor([[7, 9, 11, EOS], [7, 9, EOS, 0], [8, EOS, 0, 0]])


@pytest.fixture(scope="module")
def student():
    return tiny_student()


def index(*rows):
    return torch.tensor(rows)


@torch.no_grad()
def last_logits(student, images, *rows):
    """Of one question about the images of each row."""
    ids = questions(1).repeat(len(rows), 1)
    return student(pixel_values=images, input_ids=ids, image_index=index(*rows)).logits[:, -1]


def test_one_image_is_left_as_it_was_to_the_last_bit(student):
    seen, ids = pictures(3), questions(3)
    alone = student(pixel_values=seen, input_ids=ids).logits
    assert torch.equal(
        student(pixel_values=seen, input_ids=ids, image_index=index([0], [1], [2])).logits, alone
    )
    assert torch.equal(side_by_side(student.look(seen), index([1]))[0], student.look(seen)[1:2])


def test_every_image_counts_wherever_it_stands(student):
    seen = pictures(4)
    pair, other_second, other_first = last_logits(student, seen, [0, 1], [0, 2], [3, 1])
    alone = last_logits(student, seen, [0])[0]
    for other in (other_second, other_first, alone):
        assert (pair - other).abs().max() > 1e-2


def test_the_order_counts(student):
    two, swapped = last_logits(student, pictures(2), [0, 1], [1, 0])
    assert (two - swapped).abs().max() > 1e-2
    in_order, turned = last_logits(student, pictures(3), [0, 1, 2], [0, 2, 1])
    assert (in_order - turned).abs().max() > 1e-2


def test_twice_the_same_image_is_not_that_image_once(student):
    once, twice = last_logits(student, pictures(1), [0, NO_IMAGE], [0, 0])
    assert (once - twice).abs().max() > 1e-2


def test_filling_up_changes_nothing(student):
    seen = pictures(3)
    rows = [[0], [1, 2], [2, 0, 1]]
    filled = last_logits(student, seen, *(row + [NO_IMAGE] * (4 - len(row)) for row in rows))
    for row, logits in zip(rows, filled, strict=True):
        assert torch.allclose(logits, last_logits(student, seen, row)[0], atol=1e-4)


def test_a_question_without_an_image_is_refused(student):
    for rows in ([[0, 1], [NO_IMAGE, NO_IMAGE]], [[0, 1], [NO_IMAGE, 1]]):
        with pytest.raises(StudentError, match=r"image_index of text 1 is \[-1"):
            last_logits(student, pictures(2), *rows)


def test_marks_tell_places_apart_and_leave_the_first_alone():
    made = marks(8, torch.zeros(1, 32))
    assert made.shape == (8, 32)
    assert not made[0].any()
    apart = torch.cdist(made, made) + 9 * torch.eye(8)
    assert apart.min() > 1
    assert marks(3, torch.zeros(5, 33, dtype=torch.bfloat16)).shape == (3, 33)


MIXED = index([0, 1, 2], [2, NO_IMAGE, NO_IMAGE], [1, 0, NO_IMAGE])


@pytest.mark.parametrize("way", [{}, {"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}])
def test_questions_about_one_and_several_images_answer_together_as_alone(student, way):
    seen, ids = pictures(3), questions(3)
    asked = {"max_new_tokens": 7, **way}
    together = student.generate(input_ids=ids, pixel_values=seen, image_index=MIXED, **asked)
    bare = student.generate(input_ids=ids, pixel_values=seen, image_index=MIXED, use_cache=False, **asked)
    assert torch.equal(together, bare)
    width = together.shape[1]
    alone = [
        F.pad(made, (0, width - made.shape[1]))
        for question, row in zip(ids, MIXED, strict=True)
        for made in student.generate(
            input_ids=question[None], pixel_values=seen, image_index=row[row >= 0][None], **asked
        )[:, None]
    ]
    assert torch.equal(together, torch.cat(alone))


def test_images_are_looked_at_once_for_all_questions(student, monkeypatch):
    looked = []
    see = student.vision.forward
    monkeypatch.setattr(student.vision, "forward", lambda x: (looked.append(len(x)), see(x))[1])
    student.generate(input_ids=questions(3), pixel_values=pictures(3), image_index=MIXED, max_new_tokens=3)
    student.score_labels(pictures(3), questions(1)[0], LABELS, image_index=MIXED)
    assert looked == [3, 3]


def test_generate_takes_images_that_were_looked_at_before(student):
    seen, ids = pictures(3), questions(3)
    asked = {"input_ids": ids, "image_index": MIXED, "max_new_tokens": 5}
    with torch.no_grad():
        tokens = student.look(seen)
    assert torch.equal(
        student.generate(image_tokens=tokens, **asked), student.generate(pixel_values=seen, **asked)
    )


@torch.no_grad()
@pytest.mark.parametrize("switches", [{}, {"cross_attention": False}, {"causal_attention": False}])
@pytest.mark.parametrize("at_once", [1, 1 << 22])
def test_scores_of_labels_equal_one_pass_each(monkeypatch, at_once, switches):
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", at_once)
    student, seen, question = tiny_student(**switches), pictures(3), questions(1)[0]
    scores = student.score_labels(seen, question, LABELS, image_index=MIXED)
    for row, scored in zip(MIXED, scores, strict=True):
        by_hand = []
        for label in LABELS:
            answer = label[label != 0]
            ids = torch.cat([question, answer])[None]
            logits = student(pixel_values=seen, input_ids=ids, image_index=row[None]).logits
            said = logits[0, len(question) - 1 : -1]
            by_hand.append(-F.cross_entropy(said, answer, reduction="sum"))
        assert torch.allclose(scored, torch.stack(by_hand).log_softmax(0), atol=1e-4)


def test_saved_and_loaded_it_answers_the_same(student, tmp_path):
    student.save_pretrained(tmp_path)
    loaded = MVaEMaForConditionalGeneration.from_pretrained(tmp_path).eval()
    asked = {"input_ids": questions(3), "pixel_values": pictures(3), "image_index": MIXED}
    assert torch.equal(loaded(**asked).logits, student(**asked).logits)
    assert torch.equal(
        loaded.generate(**asked, max_new_tokens=6), student.generate(**asked, max_new_tokens=6)
    )


def test_images_are_compared_with_their_texts_beside_questions_about_several(student):
    """ITC and ITM stay with one image and its text."""
    made = {"pixel_values": pictures(3), "itc_input_ids": words(3, 6, seed=9)}
    ids = questions(2)
    both = student(**made, input_ids=ids, labels=ids, image_index=index([0, 1], [2, NO_IMAGE]))
    alone = student(**made)
    assert (both.itc, both.itm) == (alone.itc, alone.itm)
    assert both.lm is not None


def test_it_learns_which_of_two_images_comes_first():
    """Its eye stays as it is: what tells the two apart are the marks."""
    torch.manual_seed(0)
    student = MVaEMaForConditionalGeneration(tiny_config(itc=False, itm=False)).train()
    with torch.no_grad():
        tokens = student.look(pictures(4))
    pairs = index(*((first, second) for first in range(4) for second in range(4) if first != second))
    asked = questions(1).repeat(len(pairs), 1)
    answers = torch.stack([10 + pairs[:, 0], 20 + pairs[:, 1], torch.full((len(pairs),), EOS)], dim=1)
    ids = torch.cat([asked, answers], dim=1)
    labels = torch.cat([torch.full_like(asked, -100), answers], dim=1)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(150):
        student(image_tokens=tokens, input_ids=ids, labels=labels, image_index=pairs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    said = student.eval().generate(input_ids=asked, image_tokens=tokens, image_index=pairs, max_new_tokens=3)
    assert torch.equal(said[:, asked.shape[1] :], answers)
