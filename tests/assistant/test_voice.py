"""What is shown before a question fits the student's longest text, in asking as in tuning."""

import numpy as np
import pytest
import torch
from PIL import Image

from micrographia.assistant import Assistant, table
from micrographia.assistant.hub_voice import HubVoice
from micrographia.assistant.screen import screen
from micrographia.assistant.voice import Choice, Example, Voice
from micrographia.errors import StudentError
from micrographia.evaluate.exam import Exam, readable
from micrographia.students.chat import ChatProcessor
from micrographia.students.chat_template import Exchange
from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.processor import MVaEMaImageProcessor
from micrographia.students.prompts import IMAGE, MAEMIProcessor, with_places
from micrographia.students.tokens import train_tokenizer
from tests.catalog.records import conversation, micrograph
from tests.students.hub_models import MODELS, PROCESSORS
from tests.students.languages import language_model
from tests.students.test_llava import tower
from tests.students.tiny import SIDE

from .tiny import ANSWERS, QUESTIONS, card, images

SHORT, LONG = "Fibres.", "Round particles on a dark ground."
CHOICE = Choice(QUESTIONS[3], [SHORT, LONG])


def log_chance(voice, asked, shown=None):
    """Of the long answer to the question about each image: untrained, they give it next to none."""
    return np.log(voice.choose(asked, CHOICE, shown)[:, 1])


def examples_of(*labels):
    return [Example(image, label) for image, label in zip(images(len(labels), seed=1), labels, strict=True)]


def our_voice(family, example_labels):
    """A student with just as many positions as these examples and the longest answer take up. OPT fails at
    any that is beyond; Llama goes on, untaught."""
    tokenizer = with_places(train_tokenizer(QUESTIONS + ANSWERS, 700))
    processor = MAEMIProcessor(MVaEMaImageProcessor(SIDE, 1), tokenizer, 17 if family == "llava" else 1)
    before = [processor.demonstration(CHOICE.question, label) for label in example_labels]
    asked = [*processor.question(CHOICE.question), *processor.answer(LONG)]
    reads = sum(map(len, before)) + len(asked)
    words = "llama" if family == "llava" else "opt"
    speaker = language_model(words, vocab_size=len(tokenizer), max_position_embeddings=reads)
    kind = SightedLlava if family == "llava" else MAEMIForConditionalGeneration
    student = kind.of(speaker, tower("ours"), image_token_id=processor.image_token_id).eval()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".sight." in name:
                parameter.normal_(0, 0.3)  # its gates are closed at first
    return Voice(student, processor)


@pytest.mark.parametrize("family", ["maemi", "llava"])
def test_examples_that_do_not_fit_are_left_out_the_least_like_first(family):
    voice, asked = our_voice(family, [SHORT, SHORT]), images(1)
    likest = examples_of(SHORT, SHORT)
    expected = log_chance(voice, asked, [likest])
    assert np.abs(expected - log_chance(voice, asked, [likest[1:]])).max() > 1e-3
    for more in (examples_of(LONG), examples_of(LONG, SHORT, LONG)):
        np.testing.assert_allclose(log_chance(voice, asked, [more + likest]), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["maemi", "llava"])
def test_images_may_have_room_for_more_examples_and_for_fewer(family):
    voice, asked = our_voice(family, [SHORT, SHORT]), images(3)
    shown = [examples_of(SHORT, SHORT), examples_of(LONG, LONG), examples_of(*[LONG] * 9)]
    together = log_chance(voice, asked, shown)
    apart = [log_chance(voice, [one], [own])[0] for one, own in zip(asked, shown, strict=True)]
    np.testing.assert_allclose(together, apart, atol=1e-4)


@pytest.mark.parametrize("family", ["maemi", "llava"])
def test_where_none_fits_it_is_asked_without(family):
    voice, asked = our_voice(family, []), images(2)
    shown = [examples_of(SHORT, SHORT), examples_of(LONG)]
    np.testing.assert_allclose(log_chance(voice, asked, shown), log_chance(voice, asked), atol=1e-4)


SQUARE = np.zeros((64, 64), np.uint8)


def hub_voice(kind, room):
    """A model whose longest chat is that of a question for the class, and so many tokens more."""
    chats = ChatProcessor(PROCESSORS[kind]())
    asked = chats.tokens([Exchange([IMAGE, CHOICE.question], LONG)], [SQUARE.shape]).total
    chats.longest = asked + room(chats)
    model = MODELS[kind]()
    model.generation_config.max_new_tokens = 8
    return HubVoice(model, chats)


def of_one_example(chats):
    asked, shown = Exchange([IMAGE, CHOICE.question], LONG), Exchange([IMAGE, CHOICE.question], SHORT)
    longer, plain = (
        chats.tokens(chat, [SQUARE.shape] * len(chat)).total for chat in ([shown, asked], [asked])
    )
    return longer - plain


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_of_the_hub_is_shown_as_many_as_fit(kind):
    voice = hub_voice(kind, of_one_example)
    likest = Example(SQUARE, SHORT)
    expected = log_chance(voice, [SQUARE], [[likest]])
    more = [Example(SQUARE, LONG), Example(SQUARE, SHORT), likest]
    assert np.array_equal(log_chance(voice, [SQUARE], [more]), expected)
    plain = log_chance(voice, [SQUARE])
    assert np.abs(expected - plain).max() > 1e-3
    assert np.array_equal(log_chance(voice, [SQUARE], [[Example(SQUARE, LONG)]]), plain)


# A model whose images take up the more the larger they are


@pytest.fixture
def qwen():
    """It reads the category question about a small image, and not about a large one."""
    voice = hub_voice("qwen3-vl", lambda chats: 20)
    taught = card(caption_question="", class_texts=("Fibres.", "Particles.", "Tips."))
    return Assistant(voice.model, voice.processor, taught, "0" * 64)


LARGE = np.zeros((128, 128), np.uint8)


def test_a_question_is_as_long_as_it_is_with_its_image(qwen):
    question = CHOICE.question
    assert qwen.reads(question) and qwen.reads(question, SQUARE.shape)
    assert not qwen.reads(question, LARGE.shape)
    assert qwen.voice.length(question, LARGE.shape) == len(
        ChatProcessor(PROCESSORS["qwen3-vl"]()).to_ask([[Exchange([IMAGE, question])]], [[LARGE]])[
            "input_ids"
        ][0]
    )
    assert len(qwen.answer([SQUARE], [question])) == 1
    with pytest.raises(StudentError, match=r"beside an image of 128 x 128 px.*tune\.max_pixels"):
        qwen.answer([SQUARE, LARGE], [question] * 2)


def test_an_image_that_is_too_large_for_it_is_refused_with_what_to_do(qwen):
    assert qwen.refusal(SQUARE) is None
    assert "smaller tune.max_pixels" in str(qwen.refusal(LARGE))


def test_an_image_that_is_too_large_is_a_row_with_its_error(qwen, tmp_path):
    for name, image in (("large", LARGE), ("small", SQUARE)):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
    screening = screen(tmp_path / "images", tmp_path / "table.csv", qwen)
    large, small = table.read(tmp_path / "table.csv")
    assert large["error"].startswith("large.png: the question") and large["category"] is None
    assert small["category"] in qwen.card.classes
    assert [path for path, _ in screening.errors] == ["large.png"]


def test_what_is_too_long_with_its_image_is_left_out_of_the_exam(qwen):
    sizes = {1: LARGE.shape, 2: SQUARE.shape}
    asked = [micrograph(n).model_copy(update={"height": h, "width": w}) for n, (h, w) in sizes.items()]
    about = {m.id: [conversation(n, about=n)] for n, m in enumerate(asked, 1)}
    qwen.processor.longest += qwen.voice.length(about[asked[1].id][0].prompt) - qwen.voice.longest_question
    left = readable(Exam(asked, about), qwen)
    assert (left.micrographs, left.too_long) == (asked[1:], 1)
