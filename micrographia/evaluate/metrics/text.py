"""Closeness of an answer's words to one or more reference answers: BLEU, ROUGE, METEOR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version

import numpy as np
from nltk.stem.api import StemmerI
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from micrographia.evaluate.metrics.words import words

FloatArray = NDArray[np.float64]
Words = tuple[str, ...]

_ORDERS = 4
_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5


def bleu_name(order: int) -> str:
    """What BLEU of that order is called in a table, with its implementation."""
    return f"BLEU-{order} (word, sacrebleu {version('sacrebleu')})"


def rouge_name(kind: str) -> str:
    """What ROUGE of that kind ("1", "2" or "L") is called in a table, with its implementation."""
    return f"ROUGE-{kind} F1 (word, rouge-score {version('rouge-score')})"


def meteor_name() -> str:
    """What METEOR is called in a table, with its implementation and the stages it lacks."""
    return f"METEOR (nltk {version('nltk')}, exact+stem, no WordNet)"


@dataclass(frozen=True)
class TextScores:
    """One row a sample: what corpus BLEU is summed from, and the values whose mean is reported.

    ``bleu`` is (sample, 10): matched n-grams of order 1-4, n-grams in the answer of order 1-4, words in the
    answer, words in the reference of closest length. The others are (sample,) and lie in [0, 1].
    """

    bleu: FloatArray
    rouge1: FloatArray
    rouge2: FloatArray
    rouge_l: FloatArray
    meteor: FloatArray


def score_texts(answers: Sequence[str], references: Sequence[Sequence[str]]) -> TextScores:
    """Score each answer against its references (several wordings of the same truth).

    BLEU clips n-grams over all references; ROUGE and METEOR take the best reference. Equal pairs of answer
    and references are scored once.

    Raises ValueError where the lengths differ or a sample has no reference.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers but {len(references)} lists of references")
    rows = []
    seen: dict[tuple[Words, frozenset[Words]], tuple[float, ...]] = {}
    for index, (answer, wordings) in enumerate(zip(answers, references, strict=True)):
        if not wordings:
            raise ValueError(f"sample {index} has no reference")
        pair = words(answer), frozenset(map(words, wordings))
        if pair not in seen:
            seen[pair] = _score(*pair)
        rows.append(seen[pair])
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 2 * _ORDERS + 2 + 4)
    return TextScores(table[:, :-4], *table[:, -4:].T)


def bleu(sums: FloatArray, order: int) -> FloatArray:
    """Corpus BLEU of order 1-4 in [0, 1] from summed rows of ``TextScores.bleu``; works along the last axis.

    Geometric mean of the clipped n-gram precisions times the brevity penalty, without smoothing: 0 where an
    order has no match. Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation",
    ACL 2002, doi:10.3115/1073083.1073135.
    """
    matched, total = sums[..., :order], sums[..., _ORDERS : _ORDERS + order]
    length, reference_length = sums[..., -2], sums[..., -1]
    precision = np.divide(matched, total, out=np.zeros_like(matched), where=total > 0)
    with np.errstate(divide="ignore"):
        geometric = np.exp(np.log(precision).mean(axis=-1))
    shortfall = 1 - np.divide(reference_length, length, out=np.ones_like(length), where=length > 0)
    return np.asarray(geometric * np.exp(np.minimum(shortfall, 0)))


def rouge(answer: Words, references: Sequence[Words]) -> tuple[float, float, float]:
    """F1 of ROUGE-1, -2 and -L in [0, 1], each with its best reference, by rouge-score.

    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL Workshop on Text Summarization 2004.
    A common subsequence is never longer than the common words are many, so ROUGE-1 bounds ROUGE-L.
    """
    by_words, by_pairs = ([(_overlap(answer, r, n), r) for r in references] for n in (1, 2))

    def score(kind: str, bounded: Sequence[tuple[float, Words]]) -> float:
        return _best(bounded, lambda r: float(_rouge_scorer(kind).score(r, answer)[kind].fmeasure))

    return score("rouge1", by_words), score("rouge2", by_pairs), score("rougeL", by_words)


def _overlap(answer: Words, reference: Words, order: int) -> float:
    """F1 of the n-grams of that order that two texts share."""
    one, other = _grams(answer, order), _grams(reference, order)
    shared = sum(min(count, other[gram]) for gram, count in one.items() if gram in other)
    return 2 * shared / max(one.total() + other.total(), 1)


@lru_cache(maxsize=1 << 15)
def _grams(text: Words, order: int) -> Counter[Words]:
    """How often each n-gram is there; the references of an image are met by every system."""
    return Counter(zip(*(text[i:] for i in range(order)), strict=False))


def meteor(answer: Words, references: Sequence[Words]) -> float:
    """METEOR in [0, 1] with its best reference, by nltk with exact and stem matches only.

    Lavie and Agarwal, "METEOR: An Automatic Metric for MT Evaluation with High Levels of Correlation with
    Human Judgments", WMT 2007, with that paper's weights. Not comparable with METEOR 1.5 in Java, which adds
    synonyms, paraphrases and function-word weights. The bound is the score with every common stem in one
    unbroken chunk.
    """
    stems = Counter(map(_porter().stem, answer))

    def bound(reference: Words) -> float:
        matches = (stems & Counter(map(_porter().stem, reference))).total()
        if not matches:
            return 0.0
        mean = matches / (_ALPHA * len(reference) + (1 - _ALPHA) * len(answer))
        return float(mean * (1 - _GAMMA / matches**_BETA))

    weights = {"alpha": _ALPHA, "beta": _BETA, "gamma": _GAMMA}
    return _best(
        [(bound(r), r) for r in references],
        lambda r: float(single_meteor_score(r, answer, stemmer=_porter(), wordnet=_NoWordNet, **weights)),
    )


def _best(bounded: Sequence[tuple[float, Words]], score: Callable[[Words], float]) -> float:
    """The best score over references, given an upper bound of each: those that cannot win are not scored."""
    best = 0.0
    for bound, reference in sorted(bounded, reverse=True):
        if bound <= best:
            break
        best = max(best, score(reference))
    return best


def _score(answer: Words, references: frozenset[Words]) -> tuple[float, ...]:
    ordered = sorted(references)
    return (*_bleu_counts(answer, ordered), *rouge(answer, ordered), meteor(answer, ordered))


def _bleu_counts(answer: Words, references: Sequence[Words]) -> tuple[float, ...]:
    score = _bleu_scorer().corpus_score([" ".join(answer)], [[" ".join(r)] for r in references])
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


@cache
def _bleu_scorer() -> BLEU:
    return BLEU(tokenize="none", smooth_method="none", force=True)


class _AlreadyWords:
    """Lets rouge-score take words instead of splitting a text by its own rule."""

    @staticmethod
    def tokenize(text: Words) -> Words:
        return text


@cache
def _rouge_scorer(kind: str) -> RougeScorer:
    return RougeScorer([kind], tokenizer=_AlreadyWords)


class _Porter(StemmerI):
    """Porter's stemmer, which meets the same words again and again."""

    def __init__(self) -> None:
        self._stem: Callable[[str], str] = lru_cache(maxsize=1 << 16)(PorterStemmer().stem)

    def stem(self, token: str) -> str:
        return self._stem(token)


@cache
def _porter() -> _Porter:
    return _Porter()


class _NoWordNet:
    """Stands for the WordNet files, which are not part of an install: no word has a synonym."""

    @staticmethod
    def synsets(word: str) -> tuple[()]:
        return ()
