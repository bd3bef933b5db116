import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from micrographia.errors import StudentError
from micrographia.micrographs.display import to_display
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.read import decode
from micrographia.students.processor import MVaEMaImageProcessor, MVaEMaProcessor, eight_bits
from micrographia.students.side_by_side import NO_IMAGE
from micrographia.students.tokens import train_tokenizer

from .tiny import tiny_student

TEXTS = ["What is it?", "How wide are the particles, in µm?", "They are 3.5 µm wide.", "Round particles."] * 2


@pytest.fixture(scope="module")
def processor():
    return MVaEMaProcessor(MVaEMaImageProcessor(64, 1), train_tokenizer(TEXTS, 600))


def ramp(rows=300, columns=400, dtype=np.uint8):
    top = np.iinfo(dtype).max
    return np.linspace(0, top, rows * columns).reshape(rows, columns).astype(dtype)


def prepared(image, side=64, channels=1):
    return MVaEMaImageProcessor(side, channels).preprocess(image)["pixel_values"][0]


def test_pixel_values_span_minus_one_to_one():
    dark_and_bright = np.repeat(np.array([0, 255], np.uint8), 32)[None].repeat(64, 0)
    values = prepared(dark_and_bright)
    assert values.shape == (1, 64, 64)
    assert values.dtype == torch.float32
    assert (values.min(), values.max()) == (-1, 1)
    assert torch.allclose(prepared(np.full((9, 9), 51, np.uint8)), torch.tensor(51 / 127.5 - 1))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I", "I;16", "F", "LAB"])
def test_every_mode_of_pil_gives_the_same_picture(mode):
    picture = Image.fromarray(np.where(np.arange(90)[:, None] < 45, 0, 255).astype(np.uint8).repeat(80, 1))
    assert torch.allclose(prepared(picture.convert(mode)), prepared(picture), atol=1e-2)


def test_sixteen_bits_are_not_white():
    wide = ramp(dtype=np.uint16)
    for image in (wide, Image.fromarray(wide)):
        values = prepared(image)
        assert len(values.unique()) >= 200
        assert abs(values.mean()) < 0.05
        assert torch.allclose(values, prepared(ramp()), atol=0.02)


def encoded(image, form, **how):
    data = io.BytesIO()
    image.save(data, form, **how)
    return data.getvalue()


def files_with_something_beside_grey():
    rgba = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    grey, colour = Image.fromarray(rgba[..., 0]), Image.fromarray(rgba[..., :3])
    yield "transparent", encoded(Image.fromarray(rgba), "PNG")
    yield "transparent grey", encoded(Image.fromarray(rgba).convert("LA"), "PNG")
    yield "transparent TIFF", encoded(Image.fromarray(rgba), "TIFF")
    yield "one grey transparent", encoded(grey, "PNG", transparency=7)
    yield "one colour transparent", encoded(colour.convert("P"), "PNG", transparency=3)
    yield "rotated JPEG", encoded(grey, "JPEG", exif=rotated)
    yield "rotated TIFF", encoded(grey, "TIFF", tiffinfo={274: 6})


@pytest.mark.parametrize(
    "data", [pytest.param(data, id=name) for name, data in files_with_something_beside_grey()]
)
def test_a_file_opened_by_pil_is_seen_as_ingest_sees_it(data):
    shown, _ = to_display(decode(data, Limits(), "image").pixels)
    assert np.array_equal(eight_bits(Image.open(io.BytesIO(data))), shown)


@pytest.mark.parametrize("image", [ramp(dtype=np.int32), ramp(dtype=np.uint16) / 65535.0])
def test_other_depths_go_through_the_display(image):
    assert torch.allclose(prepared(image), prepared(ramp()), atol=0.02)


def test_grey_student_takes_luma_and_colour_student_grey():
    colour = np.zeros((20, 20, 3), np.uint8)
    colour[...] = (200, 100, 50)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert torch.allclose(prepared(colour), torch.tensor(luma / 127.5 - 1), atol=0.01)
    assert prepared(colour, channels=3)[:, 0, 0].tolist() == pytest.approx(
        [v / 127.5 - 1 for v in (200, 100, 50)]
    )
    grey = prepared(ramp(), channels=3)
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])


def test_reduction_does_not_alias():
    """A pattern finer than the student's pixels becomes its mean, not a coarse pattern."""
    fine = np.indices((640, 640)).sum(0) % 2 * 255
    assert prepared(fine.astype(np.uint8)).std() < 0.02


def test_the_whole_image_is_kept():
    frame = np.zeros((100, 300), np.uint8)
    frame[:10] = frame[-10:] = 255
    frame[:, :15] = frame[:, -15:] = 255
    values = prepared(frame)[0]
    assert min(values[0].min(), values[-1].min(), values[:, 0].min(), values[:, -1].min()) > 0.9


def test_odd_arrays_are_refused():
    for shape in [(4,), (2, 3, 4, 5), (5, 5, 2), (0, 5)]:
        with pytest.raises(StudentError, match="shape"):
            eight_bits(np.zeros(shape, np.uint8))
    assert eight_bits(np.zeros((5, 6, 1), np.uint8)).shape == (5, 6)
    assert eight_bits(np.random.default_rng(0).integers(0, 255, (5, 6, 4)).astype(np.uint8)).shape == (
        5,
        6,
        3,
    )


def test_questions_are_closed_by_decode_and_padded_on_the_left(processor):
    made = processor(text=TEXTS[:2])
    tokenizer = processor.tokenizer
    assert made["input_ids"][:, -1].tolist() == [tokenizer.bos_token_id] * 2
    short, long = made["attention_mask"]
    assert long.all() and short.tolist() == sorted(short.tolist())
    assert tokenizer.decode(made["input_ids"][0], skip_special_tokens=True) == TEXTS[0]
    assert set(made) == {"input_ids", "attention_mask"}


def test_one_image_and_one_question(processor):
    made = processor(images=Image.fromarray(ramp()), text="What is it?")
    assert made["pixel_values"].shape == (1, 1, 64, 64)
    assert len(made["input_ids"]) == 1
    several = processor(images=[ramp(), ramp(50, 60), Image.fromarray(ramp(9, 7))], text=TEXTS[:3])
    assert several["pixel_values"].shape == (3, 1, 64, 64)


def test_lists_of_images_belong_to_their_questions(processor):
    pictures = [ramp(), ramp(50, 60), Image.fromarray(ramp(9, 7))]
    made = processor(images=[pictures[:2], pictures[2:]], text=TEXTS[:2])
    assert made["image_index"].tolist() == [[0, 1], [2, NO_IMAGE]]
    flat = processor(images=pictures)
    assert torch.equal(made["pixel_values"], flat["pixel_values"])
    assert "image_index" not in flat
    mixed = processor(images=[pictures[0], tuple(pictures[1:])], text=TEXTS[:2])
    assert mixed["image_index"].tolist() == [[0, NO_IMAGE], [1, 2]]
    assert processor(images=[pictures], text="What is it?")["image_index"].tolist() == [[0, 1, 2]]


def test_lists_of_images_that_fit_no_questions_are_refused(processor):
    for images, texts in (([[ramp()], []], TEXTS[:2]), ([[ramp(), ramp()]], TEXTS[:2])):
        with pytest.raises(StudentError, match="one list for each question"):
            processor(images=images, text=texts)


def test_a_question_about_two_images_is_answered(processor):
    student = tiny_student(vocab_size=len(processor.tokenizer))
    asked = processor(images=[[ramp(), ramp()[::-1]], [ramp()]], text=TEXTS[:2])
    answers = processor.said(student.generate(**asked, max_new_tokens=6), asked["input_ids"])
    alone = processor(images=ramp(), text=TEXTS[1])
    assert answers[1] == processor.said(student.generate(**alone, max_new_tokens=6), alone["input_ids"])[0]


def test_answers_close_with_eos_and_pad_on_the_right(processor):
    rows = processor.answers(["Round particles.", "They are 3.5 µm wide."])
    eos, pad = processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id
    assert rows.dtype == torch.int64
    for row in rows.tolist():
        assert row.count(eos) == 1
        assert set(row[row.index(eos) + 1 :]) <= {pad}


def test_said_is_what_came_after_the_question(processor):
    asked = processor(text=TEXTS[:2])["input_ids"]
    sequences = torch.cat([asked, processor.answers(TEXTS[2:4])], dim=1)
    assert processor.said(sequences, asked) == TEXTS[2:4]


def test_saved_and_loaded_are_equal(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, MVaEMaProcessor)
    assert loaded.to_dict() == processor.to_dict()
    images, texts = [ramp(dtype=np.uint16), ramp(40, 50)], ["7.25 µm?", "What is it?"]
    before, after = processor(images=images, text=texts), loaded(images=images, text=texts)
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
