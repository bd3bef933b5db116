import numpy as np
import pytest
import torch
from transformers import AutoProcessor, CLIPImageProcessorPil, LlamaConfig, PreTrainedTokenizerFast

from micrographia.errors import StudentError
from micrographia.students.configuration import MAEMIConfig
from micrographia.students.processor import MVaEMaImageProcessor
from micrographia.students.prompts import IMAGE, MAEMIProcessor, with_places
from micrographia.students.tokens import train_tokenizer

GREY = np.zeros((32, 40), np.uint8)


def tokenizer():
    return with_places(train_tokenizer(["What is shown? Particles of 12 nm."] * 3, 600))


@pytest.fixture
def processor():
    return MAEMIProcessor(MVaEMaImageProcessor(64, 1), tokenizer())


def told(processor, ids):
    return processor.tokenizer.decode(ids)


def test_a_prompt_is_places_and_texts_closed_by_encode(processor):
    ids = processor.prompt([IMAGE, "What is shown?", IMAGE, "12 nm"])
    assert ids.count(processor.image_token_id) == 2
    assert ids[-1] == processor.encode_token_id
    assert told(processor, ids) == "<image>What is shown?<image>12 nm<Encode>"


def test_an_answer_is_closed_by_the_end(processor):
    assert told(processor, processor.answer("Particles")) == "Particles<EOS>"


@pytest.mark.parametrize("sign", ["<image>", "<Encode>", "<EOS>", "<pad>"])
def test_what_is_typed_is_never_a_sign(processor, sign):
    ids = processor.words(f"What is {sign} shown?")
    assert processor.tokenizer.convert_tokens_to_ids(sign) not in ids
    assert sign in told(processor, ids)


def test_called_with_images_and_texts_it_makes_what_generate_takes(processor):
    batch = processor(images=[GREY, GREY, GREY], text=["<image> What?", "<image> and <image> differ how?"])
    assert batch["pixel_values"].shape == (3, 1, 64, 64)
    places = batch["input_ids"] == processor.image_token_id
    assert places.sum(1).tolist() == [1, 2]
    assert (batch["input_ids"][:, -1] == processor.encode_token_id).all()
    assert batch["attention_mask"][0, 0] == 0  # the shorter one is padded on the left


def test_texts_without_places_begin_with_their_image(processor):
    both = processor(images=[GREY, GREY], text=["What?", "Which?"])["input_ids"]
    assert ((both == processor.image_token_id).sum(1) == 1).all()
    one = processor(images=GREY, text="What?")["input_ids"][0]
    assert one[0] == processor.image_token_id


@pytest.mark.parametrize(("images", "text"), [(2, ["<image> What?"]), (1, ["A", "B"]), (0, ["<image> A"])])
def test_places_without_images_are_refused(processor, images, text):
    with pytest.raises(StudentError, match=f"{images} images came"):
        processor(images=[GREY] * images, text=text)


@pytest.mark.parametrize("kind", ["ours", "a hub's"])
def test_saved_and_loaded_by_the_auto_class_it_is_the_same(tmp_path, kind):
    images = MVaEMaImageProcessor(64, 1) if kind == "ours" else CLIPImageProcessorPil(size=64, crop_size=64)
    processor = MAEMIProcessor(images, tokenizer())
    processor.save_pretrained(tmp_path)
    MAEMIConfig(text_config=LlamaConfig(vocab_size=64)).save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is MAEMIProcessor
    asked = {"images": [GREY], "text": "What is shown?"}
    for name, tensor in processor(**asked).items():
        assert torch.equal(again(**asked)[name], tensor)


def test_a_hub_s_image_processor_gets_16_bits_as_ingest_shows_them():
    ramp = np.linspace(0, 60_000, 64 * 64, dtype=np.uint16).reshape(64, 64)
    processor = MAEMIProcessor(CLIPImageProcessorPil(size=64, crop_size=64), tokenizer())
    seen = processor(images=ramp)["pixel_values"]
    assert seen.shape == (1, 3, 64, 64)
    assert len(seen[0, 0].unique()) > 200


def test_a_tokenizer_that_opens_its_texts_opens_prompts():
    usual = tokenizer()
    begin = usual.convert_tokens_to_ids("<cls>")
    opening = PreTrainedTokenizerFast(tokenizer_object=usual.backend_tokenizer, eos_token="<EOS>")
    from tokenizers.processors import TemplateProcessing

    opening.backend_tokenizer.post_processor = TemplateProcessing(
        single="<cls> $A", special_tokens=[("<cls>", begin)]
    )
    processor = MAEMIProcessor(MVaEMaImageProcessor(64, 1), with_places(opening))
    assert processor.prompt(["What?"])[0] == begin
    assert begin not in processor.words("What?")
