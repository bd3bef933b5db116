"""Words as numbers: a tokenizer learned from the lab's own texts, which keeps numbers and units whole.

A text is cut into words, numbers, units and single signs, each with the space before it. Byte-pair merges
(Sennrich 2016, arXiv:1508.07909) build words; a number or a unit is one token or is spelled out, and is
never merged with its neighbour. A character that the texts never had is spelled in bytes, so nothing is
unknown.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from micrographia.errors import PlanError

PAD, EOS, CLS, ENCODE, DECODE = "<pad>", "<EOS>", "<cls>", "<Encode>", "<Decode>"
"""``<cls>``, ``<Encode>``, ``<Decode>`` and ``<EOS>`` are the paper's names; ``<pad>`` has id 0."""

SPECIAL = (PAD, EOS, CLS, ENCODE, DECODE)

UNITS = (
    *("pm", "nm", "µm", "mm", "cm", "m", "Å", "px", "nm²", "µm²", "mm²", "cm²", "px²", "µm³", "nm³"),
    *("µm⁻¹", "nm⁻¹", "µm⁻²", "nm⁻²", "cm⁻¹", "cm⁻²", "°", "°C", "%", "eV", "keV", "V", "kV", "mV"),
    *("A", "nA", "pA", "µA", "K", "s", "ms", "µs", "ns", "Pa", "kPa", "MPa", "GPa", "mbar", "g", "kg"),
    *("mg", "µg", "N", "mN", "µN", "Hz", "kHz", "MHz", "W", "mW", "J", "kJ", "×", "±", "σ", "at", "wt"),
)
"""Each is one token, with and without a space before it, whether the texts had it or not."""

NUMBER = r" ?\d+(?:[.,]\d+)*"
_PIECE = "|".join(
    [
        NUMBER,
        r" ?°[CF](?!\p{L})",
        r" ?\p{L}[\p{L}\p{M}]*[⁻¹²³]*",
        r" ?[^\s\p{L}\p{N}]",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
ONE_SPELLING = {"\u03bc": "µ", "\u00a0": " ", "\u2009": " ", "\u202f": " "}
"""Greek mu becomes the micro sign, and the spaces that typesetters put before a unit become plain ones."""


def train_tokenizer(texts: Iterable[str], vocab_size: int = 2000) -> PreTrainedTokenizerFast:
    """A tokenizer of at most ``vocab_size`` tokens, learned from ``texts``.

    Each number in the texts is one token; where they would fill more than half of the vocabulary, the
    rarer ones are spelled digit by digit. ``decode`` gives back the text exactly, in one spelling of the
    micro sign (U+00B5), of the ångström (U+00C5) and of the space.

    Raises ``PlanError`` where there is no text, or where ``vocab_size`` has no room for the characters.
    """
    texts = list(texts)
    if not any(text.strip() for text in texts):
        raise PlanError("there is no text to learn a vocabulary from", "teach first: micrographia teach")
    spell = _splitter().normalizer.normalize_str
    texts = [spell(text) for text in texts]
    whole = [space + unit for unit in UNITS for space in ("", " ")]
    whole += _frequent_numbers(texts, vocab_size // 2)
    vocab, merges = _merges(texts, vocab_size - len(whole))
    for piece in whole:
        vocab.setdefault(piece, len(vocab))
    if len(vocab) > vocab_size:
        raise PlanError(
            f"vocab_size is {vocab_size}, but bytes, characters, units and numbers alone are {len(vocab)}",
            f"set it to {len(vocab)} or more",
        )
    tokenizer = _splitter(models.BPE(vocab, merges, byte_fallback=True, ignore_merges=True))
    tokenizer.add_special_tokens(list(SPECIAL))
    return _for_transformers(tokenizer)


def _splitter(model: models.BPE | None = None) -> Tokenizer:
    """Normaliser, cutter and decoder around a model; around an empty one to begin with."""
    tokenizer = Tokenizer(model or models.BPE())
    spellings = [normalizers.Replace(old, new) for old, new in ONE_SPELLING.items()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *spellings])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _frequent_numbers(texts: list[str], most: int) -> list[str]:
    """The numbers in ``texts``, with the space before them, the ``most`` frequent first."""
    counts = Counter(number for text in texts for number in re.findall(NUMBER, text))
    return sorted(counts, key=lambda number: (-counts[number], number))[:most]


def _merges(texts: list[str], vocab_size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair merges over everything but numbers, so that an unseen number is spelled digit by digit."""
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=sorted(set("0123456789., ").union(*texts)),
        show_progress=False,
    )
    tokenizer = _splitter()
    tokenizer.train_from_iterator((words for text in texts for words in re.split(NUMBER, text)), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def _for_transformers(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Questions come from outside: ``split_special_tokens`` reads "<EOS>" in them as five plain signs."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        cls_token=CLS,
        bos_token=DECODE,
        additional_special_tokens=[ENCODE],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        model_input_names=["input_ids", "attention_mask"],
    )
