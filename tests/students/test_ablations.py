"""MVaEMa without one of its attentions: what is gone, what remains, and that answers can still be made."""

import pytest
import torch
import torch.nn.functional as F

from micrographia.errors import StudentError
from micrographia.students.mvaema import MVaEMaForConditionalGeneration

from .tiny import EOS, pictures, questions, tiny_config, tiny_student, words

SUBLAYERS = {"self_attention": "both_ways", "cross_attention": "cross", "causal_attention": "causal"}
LABELS = torch.tensor([[7, 9, 11, EOS], [7, 9, EOS, 0], [8, EOS, 0, 0]])


@pytest.fixture(params=SUBLAYERS)
def without(request):
    """The name of the attention that is left out, and a student without it."""
    return request.param, tiny_student(**{request.param: False})


def batch(count=4):
    ids = torch.cat([questions(count), words(count, 4, seed=1)], dim=1)
    labels = ids.clone()
    labels[:, :5] = -100
    return {
        "pixel_values": pictures(count),
        "input_ids": ids,
        "labels": labels,
        "itc_input_ids": words(count, 6, seed=9),
    }


def test_what_is_left_out_has_no_weights(without):
    name, student = without
    gone = {weight for weight, _ in tiny_student().named_parameters()} - {
        weight for weight, _ in student.named_parameters()
    }
    assert {weight.split(".")[3] for weight in gone} == {SUBLAYERS[name], f"norm_{SUBLAYERS[name]}"}


def test_all_other_text_weights_learn(without):
    _, student = without
    student.train()(**batch()).loss.backward()
    idle = [name for name, p in student.text.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_with_cache_equal_answers_without(without, beams):
    """Questions of several lengths, padded on the left, as they are asked together."""
    _, student = without
    ids, mask = questions(3, 7), torch.ones(3, 7, dtype=torch.long)
    ids[1, :3] = mask[1, :3] = 0
    asked = {"input_ids": ids, "attention_mask": mask, "pixel_values": pictures(3), "num_beams": beams}
    cached = student.generate(**asked, max_new_tokens=7)
    assert torch.equal(cached, student.generate(**asked, max_new_tokens=7, use_cache=False))


@torch.no_grad()
def test_logits_with_cache_equal_logits_of_whole_passes(without):
    _, student = without
    ids, seen = torch.cat([questions(2), words(2, 5, seed=3)], dim=1), pictures(2)
    whole = student(pixel_values=seen, input_ids=ids).logits
    asked = student(pixel_values=seen, input_ids=ids[:, :5], use_cache=True)
    cache, steps = asked.past_key_values, [asked.logits]
    for several in (ids[:, 5:8], ids[:, 8:9], ids[:, 9:10]):
        told = student(pixel_values=seen, input_ids=several, past_key_values=cache)
        cache, steps = told.past_key_values, [*steps, told.logits]
    assert torch.allclose(torch.cat(steps, dim=1), whole, atol=1e-4)


@torch.no_grad()
def test_scores_of_labels_equal_one_pass_each(without):
    _, student = without
    seen, question = pictures(2), questions(1)[0]
    scores = student.score_labels(seen, question, LABELS)
    for picture, row in zip(seen, scores, strict=True):
        by_hand = []
        for label in LABELS:
            answer = label[label != 0]
            ids = torch.cat([question, answer])[None]
            said = student(pixel_values=picture[None], input_ids=ids).logits[0, len(question) - 1 : -1]
            by_hand.append(-F.cross_entropy(said, answer, reduction="sum"))
        assert torch.allclose(row, torch.stack(by_hand).log_softmax(0), atol=1e-4)


@torch.no_grad()
def test_no_answer_sees_its_own_next_word(without):
    """Else training would teach to copy it, and no answer could be made."""
    _, student = without
    ids = torch.cat([questions(1), words(1, 5, seed=3)], dim=1)
    other = ids.clone()
    other[:, 7:] = words(1, 3, seed=4)
    before, after = (student(pixel_values=pictures(1), input_ids=i).logits for i in (ids, other))
    assert torch.allclose(before[:, :7], after[:, :7])


@torch.no_grad()
def test_the_answer_depends_on_the_question(without):
    _, student = without
    said = [student(pixel_values=pictures(1), input_ids=questions(1, seed=s)).logits[0, -1] for s in (1, 2)]
    assert (said[0] - said[1]).abs().max() > 1e-3


@torch.no_grad()
def test_only_without_causal_attention_is_the_question_read_both_ways():
    one, other = questions(1), questions(1)
    other[:, 3] = 6 if one[0, 3] != 6 else 7
    for switches, both_ways in (({}, False), ({"causal_attention": False}, True)):
        student = tiny_student(**switches)
        said = [student(pixel_values=pictures(1), input_ids=ids).logits[0, 0] for ids in (one, other)]
        assert torch.allclose(*said) != both_ways


@torch.no_grad()
def test_without_causal_attention_a_text_that_asks_nothing_is_read_forwards():
    """Only what stands before ``<Decode>`` is a question."""
    student, one, other = tiny_student(causal_attention=False), words(1, 5), words(1, 5)
    other[:, 3] = 6 if one[0, 3] != 6 else 7
    said = [student(pixel_values=pictures(1), input_ids=ids).logits[0, 0] for ids in (one, other)]
    assert torch.allclose(*said)


@torch.no_grad()
def test_without_causal_attention_padding_changes_nothing():
    student, ids, seen = tiny_student(causal_attention=False), questions(2), pictures(2)
    plain = student(pixel_values=seen, input_ids=ids).logits
    mask = F.pad(torch.ones_like(ids), (4, 2), value=0)
    padded = student(pixel_values=seen, input_ids=F.pad(ids, (4, 2)), attention_mask=mask).logits
    assert torch.allclose(padded[:, 4:9], plain, atol=1e-5)


@torch.no_grad()
def test_without_cross_attention_the_words_are_blind():
    student = tiny_student(cross_attention=False)
    made = [student(**{**batch(), "pixel_values": pictures(4, seed=seed)}) for seed in (1, 2)]
    assert made[0].lm == made[1].lm
    assert made[0].itc != made[1].itc
    said = [student(pixel_values=pictures(1, seed=s), input_ids=questions(1)).logits for s in (1, 2)]
    assert torch.equal(*said)


@torch.no_grad()
def test_without_self_attention_a_text_is_a_bag_of_words_in_their_places():
    """One word more or less changes a text; what is at one place does not depend on what is at another."""
    text, mask = words(1, 6), torch.ones(1, 6, dtype=torch.long)
    other = text.clone()
    other[:, 5] = 6 if text[0, 5] != 6 else 7
    blind, whole = tiny_student(self_attention=False).text, tiny_student().text
    assert torch.equal(*(blind.encode(ids, mask)[:, :5] for ids in (text, other)))
    assert not torch.allclose(*(whole.encode(ids, mask)[:, :5] for ids in (text, other)))
    assert not torch.allclose(blind.summary(text, mask), blind.summary(other, mask))
    padded = F.pad(text, (0, 3)), F.pad(mask, (0, 3))
    assert torch.allclose(blind.summary(*padded), blind.summary(text, mask), atol=1e-6)


def test_without_self_attention_texts_are_still_compared():
    torch.manual_seed(0)
    student = MVaEMaForConditionalGeneration(tiny_config(self_attention=False)).train()
    made = batch(8)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        losses.append(student(**made).itc)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] / 4


def test_a_folder_tells_what_is_left_out(without, tmp_path):
    name, student = without
    student.save_pretrained(tmp_path)
    loaded, told = MVaEMaForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    assert [getattr(loaded.config, switch) for switch in SUBLAYERS] == [s != name for s in SUBLAYERS]
    assert loaded.eval()(**batch()).loss == student(**batch()).loss


def test_a_decoder_without_any_self_attention_is_refused():
    with pytest.raises(StudentError, match="self_attention and causal_attention are both off"):
        tiny_config(self_attention=False, causal_attention=False)
