import pytest
import torch
import torch.nn.functional as F
from transformers import EncoderDecoderCache

from micrographia.students import scoring
from micrographia.students.mvaema import MVaEMaForConditionalGeneration

from .tiny import DECODE, EOS, SIDE, VOCABULARY, pictures, questions, tiny_config, tiny_student, words


@pytest.fixture(scope="module")
def student():
    return tiny_student()


def greedy_by_hand(student, picture, question, steps):
    """No cache, no padding, no ``generate``: one whole pass for each new token."""
    ids = question[None]
    for _ in range(steps):
        ids = torch.cat(
            [ids, student(pixel_values=picture[None], input_ids=ids).logits[:, -1:].argmax(-1)], 1
        )
        if ids[0, -1] == EOS:
            break
    return ids[0, len(question) :].tolist()


def new_tokens(sequences, prompt):
    rows = sequences[:, prompt.shape[1] :].tolist()
    return [row[: row.index(EOS) + 1] if EOS in row else row for row in rows]


def left_padded(rows):
    width = max(len(row) for row in rows)
    ids = torch.stack([F.pad(row, (width - len(row), 0), value=0) for row in rows])
    return ids, (ids != 0).long()


def test_greedy_with_cache_equals_whole_passes(student):
    seen, ids = pictures(3), questions(3)
    out = student.generate(input_ids=ids, pixel_values=seen, max_new_tokens=8)
    with torch.no_grad():
        assert new_tokens(out, ids) == [
            greedy_by_hand(student, p, q, 8) for p, q in zip(seen, ids, strict=True)
        ]
    bare = student.generate(input_ids=ids, pixel_values=seen, max_new_tokens=8, use_cache=False)
    assert torch.equal(out, bare)


@torch.no_grad()
def test_logits_with_cache_equal_logits_without(student):
    seen, ids = pictures(2), words(2, 9)
    whole = student(pixel_values=seen, input_ids=ids).logits
    first = student(pixel_values=seen, input_ids=ids[:, :4], use_cache=True)
    assert isinstance(first.past_key_values, EncoderDecoderCache)
    several = student(input_ids=ids[:, 4:7], past_key_values=first.past_key_values)
    last = student(input_ids=ids[:, 7:8], past_key_values=several.past_key_values)
    stepped = torch.cat([first.logits, several.logits, last.logits], dim=1)
    assert torch.allclose(stepped, whole[:, :8], atol=1e-5)


@pytest.mark.parametrize(
    "way", [{"num_beams": 1}, {"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}]
)
def test_padded_prompts_answer_as_alone(student, way):
    seen = pictures(3)
    rows = [questions(1, length, seed=length)[0] for length in (3, 7, 5)]
    ids, mask = left_padded(rows)
    together = new_tokens(
        student.generate(input_ids=ids, attention_mask=mask, pixel_values=seen, max_new_tokens=7, **way), ids
    )
    alone = [
        answer
        for row, picture in zip(rows, seen, strict=True)
        for answer in new_tokens(
            student.generate(input_ids=row[None], pixel_values=picture[None], max_new_tokens=7, **way),
            row[None],
        )
    ]
    assert together == alone


def test_beams_find_likelier_answers_than_greed(student):
    def likelihood(out, ids, seen):
        logits = student(pixel_values=seen, input_ids=out[:, :-1]).logits.log_softmax(-1)
        chosen = logits.gather(2, out[:, 1:, None]).squeeze(2)[:, ids.shape[1] - 1 :]
        return chosen.sum(1)

    seen, ids = pictures(6), questions(6)
    fixed = {"max_new_tokens": 5, "min_new_tokens": 5, "input_ids": ids, "pixel_values": seen}
    greedy = student.generate(**fixed)
    beams = student.generate(**fixed, num_beams=6)
    with torch.no_grad():
        gain = likelihood(beams, ids, seen) - likelihood(greedy, ids, seen)
    assert (gain > -1e-4).all()
    assert gain.max() > 1e-3


def test_images_are_encoded_once(student, monkeypatch):
    looked = []
    see = student.vision.forward
    monkeypatch.setattr(student.vision, "forward", lambda x: (looked.append(len(x)), see(x))[1])
    ids = questions(4)
    out = student.generate(
        input_ids=ids,
        pixel_values=pictures(2),
        image_index=torch.tensor([0, 0, 1, 1]),
        num_beams=3,
        max_new_tokens=6,
    )
    assert looked == [2]
    assert len(out) == 4


def test_the_picture_is_remembered_once(student, monkeypatch):
    remembered = []
    remember = student.text.remember
    monkeypatch.setattr(student.text, "remember", lambda x: (remembered.append(len(x)), remember(x))[1])
    student.generate(input_ids=questions(2), pixel_values=pictures(2), max_new_tokens=6, min_new_tokens=6)
    assert remembered == [2]


def test_sampling_repeats_with_its_seed_and_only_then(student):
    def sample(seed):
        torch.manual_seed(seed)
        return student.generate(
            input_ids=questions(2),
            pixel_values=pictures(2),
            do_sample=True,
            max_new_tokens=6,
            num_return_sequences=3,
        ).tolist()

    assert sample(0) == sample(0)
    assert sample(0) != sample(1)
    assert len(sample(0)) == 6


def test_without_a_question_it_begins_at_decode(student):
    seen = pictures(2)
    free = student.generate(pixel_values=seen, max_new_tokens=5)
    asked = student.generate(input_ids=torch.full((2, 1), DECODE), pixel_values=seen, max_new_tokens=5)
    assert torch.equal(free, asked)


@torch.no_grad()
def likelihoods_by_hand(student, picture, question, labels):
    """log P of each label after the question, one whole pass each, normalised over the labels."""
    scores = []
    for label in labels:
        ids = torch.cat([question, label])[None]
        logp = student(pixel_values=picture[None], input_ids=ids).logits.log_softmax(-1)[0]
        places = range(len(question) - 1, len(ids[0]) - 1)
        scores.append(sum(logp[place, ids[0, place + 1]] for place in places))
    return torch.stack(scores).log_softmax(0)


LABELS = [torch.tensor(row) for row in ([7, 9, 11, EOS], [7, 9, EOS], [8, EOS], [12, 13, 14, 15, EOS])]


@pytest.mark.parametrize("at_once", [1, 4 * 5 * VOCABULARY * 2, 1 << 22])
def test_label_scores_equal_one_pass_each(student, monkeypatch, at_once):
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", at_once)
    seen, question = pictures(3), questions(1)[0]
    labels = torch.nn.utils.rnn.pad_sequence(LABELS, batch_first=True)
    scores = student.score_labels(seen, question, labels)
    expected = torch.stack([likelihoods_by_hand(student, picture, question, LABELS) for picture in seen])
    assert torch.allclose(scores, expected, atol=1e-4)
    assert torch.allclose(scores.exp().sum(1), torch.ones(3))


def test_label_scores_of_padded_questions(student):
    seen = pictures(3)
    rows = [questions(1, length, seed=length)[0] for length in (3, 7, 5)]
    ids, mask = left_padded(rows)
    labels = torch.nn.utils.rnn.pad_sequence(LABELS, batch_first=True)
    scores = student.score_labels(seen, ids, labels, mask)
    expected = [likelihoods_by_hand(student, p, q, LABELS) for p, q in zip(seen, rows, strict=True)]
    assert torch.allclose(scores, torch.stack(expected), atol=1e-4)


def test_labels_of_one_token(student):
    seen, question = pictures(2), questions(1)[0]
    labels = torch.tensor([[7], [8], [9]])
    expected = [likelihoods_by_hand(student, picture, question, labels) for picture in seen]
    assert torch.allclose(student.score_labels(seen, question, labels), torch.stack(expected), atol=1e-4)


def test_it_learns_eight_images_by_heart():
    torch.manual_seed(0)
    student = MVaEMaForConditionalGeneration(tiny_config()).train()
    seen, asked = pictures(8), questions(1).repeat(8, 1)
    said = words(8, 6, seed=5)
    said[:, -1] = EOS
    ids = torch.cat([asked, said], dim=1)
    labels = ids.clone()
    labels[:, : asked.shape[1]] = -100
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(100):
        student(pixel_values=seen, input_ids=ids, labels=labels, itc_input_ids=said[:, :-1]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    student.eval()
    out = student.generate(input_ids=asked, pixel_values=seen, max_new_tokens=10)
    assert new_tokens(out, asked) == said.tolist()
    scores = student.score_labels(seen, asked[0], said)
    assert scores.argmax(1).tolist() == list(range(8))
    assert scores.exp().diagonal().min() > 0.9
    noise = student.generate(input_ids=asked, pixel_values=torch.randn(8, 1, SIDE, SIDE), max_new_tokens=10)
    assert new_tokens(noise, asked) != said.tolist()
