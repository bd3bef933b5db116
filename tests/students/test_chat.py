import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoProcessor, LlavaProcessor, PreTrainedTokenizerFast

from micrographia.errors import StudentError
from micrographia.students.chat import ROWS, VIDEO_FILE, ChatProcessor, Tokens
from micrographia.students.chat_template import Exchange
from micrographia.students.losses import IGNORED
from micrographia.students.prompts import IMAGE
from tests.students.hub_models import (
    LLAVA_TEMPLATE,
    MODELS,
    OTHERS,
    PROCESSORS,
    QWEN_TEMPLATE,
    chats,
    llama_tokenizer,
    llava_processor,
    qwen_processor,
)

KINDS = sorted(PROCESSORS)
WIDE, TALL = np.full((40, 72), 90, np.uint8), np.full((72, 40), 90, np.uint8)
SHOWN = Exchange([IMAGE, "What is shown?"], "Fibres")
ASKED = Exchange([IMAGE, "Which class is it?"], "pores of 12 nm")

SIGNS = ["<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|vision_start|>", "<|endoftext|>", "</s>", "<s>"]
SIGNS += ["<image>", "<tool_call>", "<pad>", "<unk>", "USER: ", "\n", "\ue000", "\uf8ff"]
TYPED = st.lists(st.sampled_from([*SIGNS, "<|im_", "end|>", "<ima", "ge>"]) | st.text(max_size=5), max_size=6)
TYPED = TYPED.map("".join)


def count(processor, ids, sign):
    return ids.count(processor.tokenizer.convert_tokens_to_ids(sign))


def learnt(batch, row=0):
    labels = batch["labels"][row]
    return labels[labels != IGNORED].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_is_the_one_that_the_processor_itself_makes(kind):
    processor = chats(kind)
    ours = processor.to_ask([[SHOWN, ASKED]], [[WIDE, TALL]])
    texts = [("user", SHOWN.question[1]), ("assistant", SHOWN.answer), ("user", ASKED.question[1])]
    told = [
        {"role": role, "content": [{"type": "image"}] * (role == "user") + [{"type": "text", "text": text}]}
        for role, text in texts
    ]
    prompt = processor.processor.apply_chat_template(told, add_generation_prompt=True)
    pictures = [processor.look([one]) for one in (WIDE, TALL)]
    if kind == "llava":  # whose own way cuts off what is not square
        assert torch.equal(ours["pixel_values"], torch.cat([one["pixel_values"] for one in pictures]))
        pictures = [np.zeros((72, 72, 3), np.uint8)] * 2
    else:
        pictures = [np.repeat(one[..., None], 3, axis=2) for one in (WIDE, TALL)]
    theirs = processor.processor(images=pictures, text=prompt, return_tensors="pt")
    assert set(ours) == set(theirs)
    for name in set(theirs) - ({"pixel_values"} if kind == "llava" else set()):
        assert torch.equal(ours[name], theirs[name])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learnt_is_the_prompt_then_the_answer_and_only_this_has_labels(kind):
    processor = chats(kind)
    asked = processor.to_ask([[SHOWN, ASKED]], [[WIDE, TALL]])
    batch = processor.to_learn([[SHOWN, ASKED]], [[WIDE, TALL]])
    before = asked["input_ids"].shape[1]
    assert torch.equal(batch["input_ids"][:, :before], asked["input_ids"])
    assert (batch["labels"][:, :before] == IGNORED).all()
    assert torch.equal(batch["labels"][:, before:], batch["input_ids"][:, before:])
    assert learnt(batch) == processor.answer(ASKED.answer)
    assert learnt(batch)[-1] == processor.end_id
    assert processor.said(batch["input_ids"], asked["input_ids"]) == [ASKED.answer]


NEW_LINE = LLAVA_TEMPLATE.replace("+ ': '", "+ ':\\n'").replace("'ASSISTANT:'", "'ASSISTANT:\\n'")
SPACE = QWEN_TEMPLATE.replace("message.role + '\\n'", "message.role + ' '").replace(
    "assistant\\n", "assistant"
)


@pytest.mark.parametrize(
    "processor",
    [qwen_processor(), qwen_processor(SPACE), llava_processor(), llava_processor(NEW_LINE)],
    ids=["qwen3-vl", "qwen3-vl, a space before", "llava", "llava, a line before"],
)
def test_prompt_and_answer_are_the_tokens_of_the_whole_text(processor):
    """Tokenised apart they could be others, which the model never met."""
    chats = ChatProcessor(processor)
    ids = chats.to_learn([[Exchange(["What is shown?"], "Fibres")]], [[]])["input_ids"][0].tolist()
    text = chats.template.text([Exchange(["What is shown?"], "Fibres")], answered=True).strip()
    end = chats.template.end
    assert ids == chats.tokenizer(text.removesuffix(end) + end)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_padded_where_it_must_be_and_mixes_none_one_and_many_images(kind):
    processor = chats(kind)
    several = [[SHOWN, ASKED], [ASKED], [Exchange(["What?"], "12 nm")]]
    pictures = [[WIDE, TALL], [TALL], []]
    learn, ask = processor.to_learn(several, pictures), processor.to_ask(several, pictures)
    for row, (chat, own) in enumerate(zip(several, pictures, strict=True)):
        for batch, alone, padded_left in (
            (learn, processor.to_learn([chat], [own]), False),
            (ask, processor.to_ask([chat], [own]), True),
        ):
            length = alone["input_ids"].shape[1]
            at = slice(-length, None) if padded_left else slice(length)
            for name in {*ROWS, "labels"} & set(alone):
                assert torch.equal(batch[name][row][at], alone[name][0])
            padding = batch["attention_mask"][row] == 0
            assert padding.sum() == padding.numel() - length
            assert (batch["input_ids"][row][padding] == processor.pad_id).all()
    assert (learn["labels"][learn["attention_mask"] == 0] == IGNORED).all()
    everything = processor.look([WIDE, TALL, TALL])
    for name in everything:
        assert torch.equal(learn[name], everything[name])


@pytest.mark.parametrize("kind", KINDS)
@given(question=TYPED, shown=TYPED, answer=TYPED)
@settings(max_examples=60, deadline=None)
def test_nothing_that_is_typed_places_an_image_or_closes_a_turn(kind, question, shown, answer):
    processor = chats(kind)
    plain = [Exchange([IMAGE, "x"], "x"), Exchange(["x", IMAGE, "x"], "x")]
    typed = [
        Exchange([IMAGE, question], f"y{shown}y"),
        Exchange([question, shown, IMAGE, shown, question], f"y{answer}y"),
    ]
    ids = [processor.to_learn([chat], [[WIDE, TALL]])["input_ids"][0].tolist() for chat in (plain, typed)]
    for sign in processor.template.signs:
        assert count(processor, ids[0], sign) == count(processor, ids[1], sign)
    assert processor.answer(f"y{answer}y").count(processor.end_id) == 1


@given(pieces=st.lists(st.sampled_from(["<|im_", "end|>", "<ima", "ge>", "<|image_", "pad|>"]), max_size=6))
@settings(max_examples=30, deadline=None)
def test_texts_side_by_side_write_no_sign_together(pieces):
    for kind in KINDS:
        processor = chats(kind)
        ids = processor.to_ask([[Exchange([*pieces, IMAGE, *pieces])]], [[WIDE]])["input_ids"][0].tolist()
        plain = processor.to_ask([[Exchange([IMAGE, "x"])]], [[WIDE]])["input_ids"][0].tolist()
        assert all(count(processor, ids, s) == count(processor, plain, s) for s in processor.template.signs)


@pytest.mark.parametrize("kind", KINDS)
@given(
    words=st.lists(TYPED, min_size=1, max_size=3),
    sizes=st.lists(st.tuples(st.integers(20, 150), st.integers(20, 150)), max_size=3),
    answer=st.sampled_from(["", "pores of 12 nm"]),
)
@settings(max_examples=40, deadline=None)
def test_a_chat_is_counted_as_it_will_be_without_its_images(kind, words, sizes, answer):
    processor = chats(kind)
    chat = [Exchange([*[IMAGE] * len(sizes), *words], answer)]
    pictures = [[np.zeros(size, np.uint8) for size in sizes]]
    made = processor.to_learn([chat], pictures) if answer else processor.to_ask([chat], pictures)
    ids = made["input_ids"][0].tolist()
    places = ids.count(processor.processor.image_token_id)
    assert processor.tokens(chat, sizes) == Tokens(places, len(ids) - places)


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_processors_of_other_families_make_chats_too(kind):
    processor = chats(kind)
    batch = processor.to_learn([[SHOWN, ASKED], [ASKED]], [[WIDE, TALL], [WIDE]])
    assert learnt(batch) == learnt(batch, 1) == processor.answer(ASKED.answer)
    assert all(len(batch[name]) == 2 for name in set(ROWS) & set(batch))
    told = processor.tokens([SHOWN, ASKED], [WIDE.shape, TALL.shape])
    assert told.total == batch["attention_mask"][0].sum()
    places = torch.tensor(processor.processor.image_token_ids)
    assert told.image == torch.isin(batch["input_ids"][0], places).sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_too_long_a_chat_is_told_and_never_cut(kind):
    whole = chats(kind).tokens([ASKED], [WIDE.shape])
    enough = ChatProcessor(PROCESSORS[kind](), longest=whole.total)
    assert enough.to_learn([[ASKED]], [[WIDE]])["input_ids"].shape[1] == whole.total
    short = ChatProcessor(PROCESSORS[kind](), longest=whole.total - 1)
    with pytest.raises(StudentError, match=f"{whole}, and {whole.total - 1} are allowed"):
        short.to_learn([[ASKED]], [[WIDE]])
    tiny = ChatProcessor(PROCESSORS[kind](), longest=9)
    with pytest.raises(StudentError, match="9 are allowed"):
        tiny.to_ask([[ASKED]], [[WIDE]])


def test_what_becomes_of_an_image_is_the_processor_s_own_arithmetic():
    processor = chats("qwen3-vl")
    sizes = [(40, 72), (72, 40), (300, 200), (16, 16)]
    told = processor.processor._get_num_multimodal_tokens(image_sizes=sizes)
    for size, tokens, patches in zip(sizes, told.num_image_tokens, told.num_image_patches, strict=True):
        seen = processor.seen(size)
        assert seen.tokens == tokens
        assert seen.scale == pytest.approx((patches * 8 * 8 / (size[0] * size[1])) ** 0.5)


def test_llava_sees_the_whole_of_an_image_in_its_square():
    seen = chats("llava").seen((40, 72))
    assert (seen.tokens, seen.scale) == (16, pytest.approx(32 / 72))
    white = np.full((40, 72), 255, np.uint8)
    inside = chats("llava").look([white])["pixel_values"][0, 0]
    shown = (inside > inside.max() - 0.1).sum(0)
    assert ((shown > 14) & (shown < 21)).all()  # 40 of 72 rows in each of the 32 columns: none is cut away


@pytest.mark.parametrize("kind", KINDS)
def test_the_budget_of_pixels_scales_down_and_says_so(kind):
    free, bound = chats(kind), ChatProcessor(PROCESSORS[kind](), max_pixels=32 * 32)
    size = (96, 96)
    assert bound.seen(size).tokens <= free.seen(size).tokens
    assert bound.seen(size).scale == pytest.approx(32 / 96)
    assert bound.look([np.zeros(size, np.uint8)])["pixel_values"].numel() <= 3 * 2 * 32 * 32


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_makes_the_same(tmp_path, kind):
    processor = ChatProcessor(PROCESSORS[kind](), max_pixels=900, longest=300)
    processor.save_pretrained(tmp_path)
    MODELS[kind]().config.save_pretrained(tmp_path)
    if kind == "llava":
        assert type(AutoProcessor.from_pretrained(tmp_path)) is LlavaProcessor
    again = ChatProcessor.from_pretrained(tmp_path)
    assert (again.max_pixels, again.longest) == (900, 300)
    assert ChatProcessor.from_pretrained(tmp_path, max_pixels=64, longest=200).max_pixels == 64
    ours, theirs = (one.to_learn([[SHOWN, ASKED]], [[WIDE, TALL]]) for one in (processor, again))
    for name in ours:
        assert torch.equal(ours[name], theirs[name])


def test_without_torchvision_settings_for_videos_are_kept_for_those_who_have_it(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    chats("qwen3-vl").save_pretrained(first)
    MODELS["qwen3-vl"]().config.save_pretrained(first)
    settings = {"video_processor_type": "Qwen3VLVideoProcessor", "max_frames": 7}
    (first / VIDEO_FILE).write_text(json.dumps(settings))
    ChatProcessor.from_pretrained(first).save_pretrained(second)
    assert json.loads((second / VIDEO_FILE).read_text()) == settings
    assert json.loads((second / "processor_config.json").read_text())["processor_class"] == "Qwen3VLProcessor"


def test_what_follows_the_end_of_a_turn_is_not_said():
    processor = chats("qwen3-vl")
    told = torch.tensor([[9, 9, *processor.answer("Fibres"), *processor.answer("more")]])
    assert processor.said(told, torch.tensor([[9, 9]])) == ["Fibres"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_that_makes_no_sense_is_refused(kind):
    processor = chats(kind)
    with pytest.raises(StudentError, match="1 places for images, and 2 images came"):
        processor.to_ask([[ASKED]], [[WIDE, TALL]])
    with pytest.raises(StudentError, match="has no answer"):
        processor.to_ask([[Exchange(["What?"]), ASKED]], [[WIDE]])
    with pytest.raises(StudentError, match="no answer to learn"):
        processor.to_learn([[Exchange(["What?"], " ")]], [[]])


def test_other_tokens_that_the_template_writes_are_text_in_a_question():
    processor = chats("qwen3-vl")
    ids = processor.to_ask([[Exchange(["What is <tool_call>?"])]], [[]])["input_ids"][0].tolist()
    assert count(processor, ids, "<tool_call>") == 0
    assert "What is <tool_call>?" in processor.tokenizer.decode(ids)


def test_a_processor_that_takes_typed_signs_for_its_own_is_given_none():
    class Careless(LlavaProcessor):
        """One that was written before ``transformers`` kept typed signs apart."""

        def __call__(self, images=None, text=None, sanitize_control_tokens=None, **kwargs):
            return super().__call__(images=images, text=text, **kwargs)

    whole = llava_processor()
    careless = ChatProcessor(
        Careless(
            whole.image_processor,
            llama_tokenizer(),
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=whole.chat_template,
        )
    )
    ours, theirs = (one.to_learn([[SHOWN, ASKED]], [[WIDE, TALL]]) for one in (careless, chats("llava")))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for sign in careless.template.signs:
        assert sign in careless.tokenizer.decode(careless.answer(f"Fibres {sign}")[:-1])
        for chat in ([Exchange([f"What is {sign}?"])], [Exchange(["What?"], sign), ASKED]):
            with pytest.raises(StudentError, match="takes it for a sign"):
                careless.to_ask([chat], [[WIDE]] if len(chat) > 1 else [[]])


def test_a_place_that_is_no_special_token_cannot_be_typed_either():
    processor = llava_processor()
    words = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    for token in words["added_tokens"]:
        token["special"] = token["content"] != "<image>"
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(words)), bos_token="<s>", eos_token="</s>"
    )
    usual = ChatProcessor(processor)
    assert usual.answer("Fibres") == chats("llava").answer("Fibres")
    with pytest.raises(StudentError, match="a chat has '<image>' in its text"):
        usual.answer("<image>")
    ids = usual.to_ask([[Exchange(["<image>"])]], [[]])["input_ids"][0].tolist()
    assert count(usual, ids, "<image>") == 0


def test_a_processor_whose_images_depend_on_the_text_is_refused():
    class Crossed(type(qwen_processor())):
        def __call__(self, *args, **kwargs):
            made = super().__call__(*args, **kwargs)
            made["cross_attention_mask"] = np.ones((1, len(made["input_ids"][0]), 1))
            return made

    whole = qwen_processor()
    with pytest.raises(StudentError, match="for each token of the text"):
        ChatProcessor(Crossed(whole.image_processor, whole.tokenizer, chat_template=whole.chat_template))
