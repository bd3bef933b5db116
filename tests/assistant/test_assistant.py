"""What the assistant says is what its model says, whoever stands beside it in a batch and however it lies."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from micrographia.assistant import Assistant, voice
from micrographia.assistant import assistant as room
from micrographia.errors import StudentError
from micrographia.students.tokens import SPECIAL

from .tiny import QUESTIONS, card, images

ALONE = """
import json, sys
import micrographia
import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

torch.set_num_threads(1)
processor = AutoProcessor.from_pretrained(sys.argv[1])
student = AutoModelForImageTextToText.from_pretrained(sys.argv[1])
said = []
for file, question in json.loads(sys.argv[2]):
    made = processor(images=np.load(file), text=question)
    ids = student.generate(**made)[:, made["input_ids"].shape[1] :]
    said += processor.batch_decode(ids, skip_special_tokens=True)
print("said", json.dumps(said))
"""


@pytest.fixture
def small_batches(monkeypatch):
    """So that a few images and questions are several batches."""
    monkeypatch.setattr(room, "IMAGES_AT_ONCE", 3)
    monkeypatch.setattr(voice, "PROMPTS_AT_ONCE", 4)


def with_card(assistant, **changes):
    return Assistant(assistant.model, assistant.processor, card(**changes), assistant.identity)


def every_pair(count):
    """Each of the questions about each of so many images, in no order."""
    pairs = [(i, q) for i in range(count) for q in QUESTIONS]
    return [pairs[i] for i in np.random.default_rng(1).permutation(len(pairs))]


def test_answers_are_those_of_the_auto_classes_alone(assistant, folder, tmp_path):
    seen = images(4)
    for i, image in enumerate(seen):
        np.save(tmp_path / f"{i}.npy", image)
    pairs = every_pair(len(seen))
    asked = json.dumps([(str(tmp_path / f"{i}.npy"), question) for i, question in pairs])
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), asked], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith("said "))
    texts = assistant.answer(seen, [question for _, question in pairs], [i for i, _ in pairs])
    assert texts == json.loads(said.removeprefix("said "))
    assert len(set(texts)) > 10  # it says different things, or the comparison shows little


def test_a_batch_says_what_each_says_alone(assistant, small_batches):
    seen = images(7)
    pairs = every_pair(len(seen))
    together = assistant.answer(seen, [question for _, question in pairs], [i for i, _ in pairs])
    assert together == [assistant.answer([seen[i]], [question])[0] for i, question in pairs]


def test_without_an_index_the_questions_go_with_the_images(assistant):
    seen = images(5)
    asked = assistant.answer(seen, QUESTIONS)
    assert asked == assistant.answer(seen, QUESTIONS, [0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match="5 questions"):
        assistant.answer(seen[:2], QUESTIONS)


def test_an_image_is_encoded_once_for_all_its_questions(assistant, small_batches, monkeypatch):
    encoded = []
    encode = assistant.model.vision.forward
    monkeypatch.setattr(
        assistant.model.vision, "forward", lambda pixels: encoded.append(len(pixels)) or encode(pixels)
    )
    pairs = every_pair(7)
    assistant.answer(images(7), [question for _, question in pairs], [i for i, _ in pairs])
    assert sorted(encoded) == [1, 3, 3]


def test_probabilities_of_all_classes_best_first(assistant, small_batches):
    rankings = assistant.classify(images(7))
    assert len(rankings) == 7
    for ranking in rankings:
        assert sorted(label for label, _ in ranking) == sorted(assistant.card.classes)
        probabilities = [probability for _, probability in ranking]
        assert sum(probabilities) == pytest.approx(1, abs=1e-12)
        assert probabilities == sorted(probabilities, reverse=True)
    assert len(set(rankings)) == 7


def test_a_probability_is_the_mean_over_eight_ways_to_lay_the_image_down(assistant):
    image = images(1)[0]
    processor = assistant.processor
    prompt = torch.tensor(processor.question(assistant.card.category_question))
    names = processor.answers(assistant.card.class_texts)
    laid = [np.rot90(side, turns) for side in (image, np.fliplr(image)) for turns in range(4)]
    seen = processor.image_processor.preprocess([np.ascontiguousarray(view) for view in laid])["pixel_values"]
    expected = assistant.model.score_labels(seen, prompt, names).exp().mean(0)
    said = dict(assistant.classify([image])[0])
    assert [said[label] for label in assistant.card.classes] == pytest.approx(expected.tolist(), abs=1e-5)
    one_way = assistant.model.score_labels(seen[:1], prompt, names).exp()[0]
    assert not torch.allclose(one_way, expected, atol=1e-3)  # the views differ, or the mean shows little


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_micrograph_has_no_up(assistant, turns):
    image = images(1)[0]
    there = dict(assistant.classify([image])[0])
    turned = dict(assistant.classify([np.ascontiguousarray(np.rot90(image, turns))])[0])
    mirrored = dict(assistant.classify([np.ascontiguousarray(image[:, ::-1])])[0])
    assert turned == pytest.approx(there, abs=1e-5)
    assert mirrored == pytest.approx(there, abs=1e-5)


@torch.no_grad()
def test_embeddings_are_the_eyes_cls_of_length_one(assistant, small_batches):
    seen = images(5)
    rows = assistant.embed(seen)
    cls = assistant.model.vision(assistant.voice.prepare(seen)).cls.numpy()
    assert rows.dtype == np.float32
    assert np.allclose(rows, cls / np.linalg.norm(cls, axis=1, keepdims=True), atol=1e-5)
    assert len(assistant.embed([])) == 0


def test_nothing_asked_nothing_answered(assistant):
    assert assistant.answer([], []) == []
    assert assistant.classify([]) == []
    assert assistant.describe([]) == []


def test_ask_without_a_question_gives_caption_and_ranking(assistant):
    image = images(1)[0]
    look = assistant.ask(image)
    assert look.question == QUESTIONS[0]
    assert look.text == assistant.answer([image], [QUESTIONS[0]])[0]
    assert look.ranking == assistant.classify([image])[0]
    assert look.confidence == look.ranking[0][1]


def test_ask_with_a_question_gives_its_answer(assistant):
    image = images(1)[0]
    look = assistant.ask(image, "Is it bright?")
    assert (look.question, look.ranking, look.confidence) == ("Is it bright?", (), None)
    assert look.text == assistant.answer([image], ["Is it bright?"])[0]


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(assistant, question):
    with pytest.raises(StudentError, match="the question is empty"):
        assistant.ask(images(1)[0], question)


def test_the_longest_question_is_answered_and_a_longer_one_refused(assistant):
    words = ["?"] * (assistant.longest_question - 1)
    assert len(assistant.processor.question("".join(words))) == assistant.longest_question
    assistant.ask(images(1)[0], "".join(words))
    with pytest.raises(StudentError, match=rf"has {assistant.longest_question + 1} tokens"):
        assistant.ask(images(1)[0], "".join([*words, "?"]))


@pytest.mark.parametrize("word", SPECIAL)
def test_a_special_token_in_a_question_is_read_as_plain_signs(assistant, word):
    ids = assistant.processor.question(f"Is {word} bright?")
    special = set(assistant.processor.tokenizer.all_special_ids)
    assert special.isdisjoint(ids[:-1])
    assert ids[-1] == assistant.processor.tokenizer.bos_token_id
    assert isinstance(assistant.ask(images(1)[0], word).text, str)


def test_what_was_not_taught_is_left_empty_or_refused(assistant):
    image = images(1)[0]
    no_classes = with_card(assistant, classes=(), class_texts=(), category_question="")
    assert no_classes.ask(image).ranking == () and no_classes.ask(image).question
    with pytest.raises(StudentError, match="taught no classes"):
        no_classes.classify([image])
    no_captions = with_card(assistant, caption_question="")
    assert no_captions.ask(image).text == "" and no_captions.ask(image).ranking
    neither = with_card(assistant, classes=(), class_texts=(), category_question="", caption_question="")
    with pytest.raises(StudentError, match="neither captions nor classes"):
        neither.ask(image)
    assert isinstance(neither.ask(image, "Is it bright?").text, str)
