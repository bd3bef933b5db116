import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForImageTextToText

from micrographia.students.chat import ChatProcessor
from micrographia.students.chat_template import Exchange
from micrographia.students.hub import embed, score_answers
from micrographia.students.losses import IGNORED
from micrographia.students.prompts import IMAGE
from tests.students.hub_models import MODELS, chats

KINDS = sorted(MODELS)
NOISE = np.random.default_rng(0)
WIDE, TALL = (NOISE.integers(0, 256, size, dtype=np.uint8) for size in ((40, 72), (72, 40)))
LEARNT = [
    [Exchange([IMAGE, "What is shown?"], "Fibres"), Exchange([IMAGE, "And here?"], "pores of 12 nm")],
    [Exchange(["Which class is it?", IMAGE], "particles")],
    [Exchange(["What?"], "Fibres or pores")],
]
PICTURES = [[WIDE, TALL], [TALL], []]
ANSWERS = ["Fibres", "pores of 12 nm", "P"]


def loss(model, batch, **changes):
    with torch.no_grad():
        return model(**{**batch, **changes}).loss


@pytest.mark.parametrize("kind", KINDS)
def test_two_steps_of_tuning_saved_loaded_and_asked(tmp_path, kind):
    model, processor = MODELS[kind]().train(), chats(kind)
    batch = processor.to_learn(LEARNT, PICTURES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        losses.append(model(**batch).loss)
        losses[-1].backward()
        optimizer.step()
    assert loss(model.eval(), batch) < losses[1] < losses[0]
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, local_files_only=True).eval()
    theirs = ChatProcessor.from_pretrained(tmp_path)
    assert loss(again, theirs.to_learn(LEARNT, PICTURES)) == loss(model, batch)
    asked = theirs.to_ask(LEARNT, PICTURES)
    how = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": theirs.end_id}
    told = again.generate(**asked, **how)
    assert torch.equal(told, model.generate(**processor.to_ask(LEARNT, PICTURES), **how))
    assert len(theirs.said(told, asked["input_ids"])) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_answers_tokens_alone(kind):
    model, processor = MODELS[kind](), chats(kind)
    batch = processor.to_learn(LEARNT, PICTURES)
    told = model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits
    by_hand = []
    for row, chat in enumerate(LEARNT):
        answer = torch.tensor(processor.answer(chat[-1].answer))
        end = int(batch["attention_mask"][row].sum())
        before = told[row, end - len(answer) - 1 : end - 1].log_softmax(-1)
        by_hand.append(-before.gather(1, answer[:, None]).squeeze(1))
    torch.testing.assert_close(loss(model, batch), torch.cat(by_hand).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_another_question_s_ids_are_no_target(kind):
    """What stands outside the answers may be any word: the gradient of the output layer for it is none."""
    model, batch = MODELS[kind](), chats(kind).to_learn(LEARNT, PICTURES)
    outside = batch["labels"] == IGNORED
    assert outside.any(1).all()
    whole = loss(model, batch, labels=batch["input_ids"].where(outside, batch["labels"]))
    assert whole != loss(model, batch)
    told = model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits
    told.retain_grad()
    F.cross_entropy(told[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten()).backward()
    assert (told.grad[:, :-1][outside[:, 1:]] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", range(3))
def test_a_prompt_padded_on_the_left_is_the_same_prompt(kind, row):
    model, processor = MODELS[kind](), chats(kind)
    with torch.no_grad():
        together = model(**processor.to_ask(LEARNT, PICTURES)).logits[row, -1]
        alone = model(**processor.to_ask([LEARNT[row]], [PICTURES[row]])).logits[0, -1]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_likelihoods_of_the_whole_answers(kind):
    model, processor = MODELS[kind](), chats(kind)
    expected = torch.empty(len(LEARNT), len(ANSWERS))
    for row, (chat, own) in enumerate(zip(LEARNT, PICTURES, strict=True)):
        for k, answer in enumerate(ANSWERS):
            whole = processor.to_learn([[*chat[:-1], Exchange(chat[-1].question, answer)]], [own])
            tokens = (whole["labels"] != IGNORED).sum()
            expected[row, k] = -loss(model, whole) * tokens
    scores = score_answers(model, processor, LEARNT, PICTURES, ANSWERS)
    torch.testing.assert_close(scores, expected.log_softmax(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_one_token_are_scored_too(kind):
    model, processor = MODELS[kind](), chats(kind)
    one = score_answers(model, processor, [LEARNT[1]], [PICTURES[1]], ["Fibres"])
    assert one.tolist() == [[0.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_is_a_vector_an_image_whatever_stands_beside_it(kind):
    model, processor = MODELS[kind](), chats(kind)
    both = embed(model, processor, [WIDE, TALL])
    assert both.shape == (2, 32)
    torch.testing.assert_close(both[1:], embed(model, processor, [TALL]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both[0], both[1])
