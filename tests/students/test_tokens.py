import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from micrographia.errors import PlanError
from micrographia.students.configuration import MVaEMaConfig
from micrographia.students.tokens import ONE_SPELLING, SPECIAL, UNITS, train_tokenizer

CORPUS = [
    "The particles are round; their mean diameter is 3.5 µm and the field is 120 µm wide.",
    "Class: scratches. Contrast is high, 12 % of the field is dark, at 15 kV and 1,024 px.",
    "The lines run at 45° to the horizontal, 2.75 nm apart, in 316L steel.",
    "It cannot be told from this image how thick the film is: 10 nm or 10 Å?",
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS, 900)


def pieces(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def back(tokenizer, text):
    return tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)


NUMBERS = st.one_of(
    st.integers(0, 10**6).map(str), st.decimals(0, 9999, places=2).map(str), st.sampled_from(["3.5", "1,024"])
)
WORDS = st.sampled_from(
    ["particles", "Field", "scratches", "naïve", "d-spacing", "SiO₂", "晶界", "x²", "Ångström"]
)
MARKS = st.sampled_from([",", ".", ";", "(", ")", "/", "-", "…", "<EOS>", "▁"])
PARTS = st.one_of(NUMBERS, WORDS, MARKS, st.sampled_from(UNITS))


@given(st.lists(st.tuples(st.sampled_from(["", " ", "  ", "\n"]), PARTS), max_size=20))
def test_decoding_gives_the_text_back(tokenizer, parts):
    text = "".join(space + part for space, part in parts)
    assert back(tokenizer, text) == text


@given(st.text(st.characters(codec="utf-8", categories=["L", "M", "N", "P", "S", "Zs"]), max_size=30))
def test_nothing_is_unknown(tokenizer, text):
    expected = unicodedata.normalize("NFC", text)
    for old, new in ONE_SPELLING.items():
        expected = expected.replace(old, new)
    assert back(tokenizer, text) == expected


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", ["7 {} wide", "7{} wide"])
def test_a_unit_is_one_token(tokenizer, unit, text):
    assert unit in [piece.strip() for piece in pieces(tokenizer, text.format(unit))]


@pytest.mark.parametrize("number", ["3.5", "120", "12", "15", "1,024", "45", "2.75", "10"])
def test_a_number_of_the_corpus_is_one_token(tokenizer, number):
    assert f" {number}" in pieces(tokenizer, f"about {number} of them")


def test_an_unseen_number_is_spelled_in_digits(tokenizer):
    assert pieces(tokenizer, "7.316")[:5] == ["7", ".", "3", "1", "6"]


def test_digits_and_letters_are_never_merged(tokenizer):
    assert pieces(tokenizer, "316L") == ["3", "1", "6", "L"]
    mixed = [t for t in tokenizer.get_vocab() if re.search(r"\d", t) and re.search(r"[^\W\d_]", t)]
    assert all(re.fullmatch("<0x[0-9A-F]{2}>", token) for token in mixed)


def test_letters_of_a_unit_inside_a_word_are_no_unit(tokenizer):
    assert "nm" not in pieces(tokenizer, "environment")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("3.5 \u03bcm", "3.5 \u00b5m"),
        ("10 \u212b", "10 \u00c5"),
        ("5\u00a0nm", "5 nm"),
        ("5\u202fnm", "5 nm"),
    ],
)
def test_one_spelling_of_units(tokenizer, written, canonical):
    assert tokenizer(written)["input_ids"] == tokenizer(canonical)["input_ids"]
    assert back(tokenizer, written) == canonical


def test_um_is_left_alone(tokenizer):
    assert back(tokenizer, "3 um") == "3 um"


def test_special_tokens_in_a_text_are_plain_signs(tokenizer):
    ids = tokenizer("What is <EOS> or <Decode>?")["input_ids"]
    assert not set(ids) & set(tokenizer.convert_tokens_to_ids(list(SPECIAL)))


def test_ids_are_those_of_the_configuration(tokenizer):
    config = MVaEMaConfig(vocab_size=len(tokenizer))
    ids = [config.pad_token_id, config.eos_token_id, config.cls_token_id]
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [
        *ids,
        config.encode_token_id,
        config.bos_token_id,
    ]
    named = (tokenizer.pad_token, tokenizer.eos_token, tokenizer.cls_token, tokenizer.bos_token)
    assert named == ("<pad>", "<EOS>", "<cls>", "<Decode>")


def test_training_repeats_and_survives_the_disk(tokenizer, tmp_path):
    again = train_tokenizer(CORPUS, 900)
    assert again.get_vocab() == tokenizer.get_vocab()
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    for text in [*CORPUS, "unseen 7.316µm <EOS> 晶"]:
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_frequent_words_are_short(tokenizer):
    assert len(pieces(tokenizer, "The field is high")) == 4


def test_the_vocabulary_is_no_larger_than_asked(tokenizer):
    assert len(tokenizer) <= 900
    many = [f"it is {n / 10} nm" for n in range(5000)]
    few = train_tokenizer(many, 1200)
    assert len(few) <= 1200
    assert back(few, "it is 499.9 nm") == "it is 499.9 nm"


def test_no_text_and_no_room_are_refused():
    with pytest.raises(PlanError, match="no text"):
        train_tokenizer(["", " "], 900)
    with pytest.raises(PlanError, match="vocab_size is 300"):
        train_tokenizer(CORPUS, 300)
