import json
from importlib.metadata import version
from itertools import pairwise

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.meteor_score import meteor_score

from micrographia.evaluate.metrics import text
from micrographia.evaluate.metrics.words import words

VOCABULARY = ["the", "surface", "surfaces", "shows", "showing", "pores", "pore", "of", "3.5", "μm", "%"]
sentences = st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)
samples = st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=4)), min_size=1, max_size=5)


class NoSynonyms:
    @staticmethod
    def synsets(word):
        return []


def corpus_bleu(answers, references, order):
    return float(text.bleu(text.score_texts(answers, references).bleu.sum(axis=0), order))


@given(samples, st.integers(1, 4))
def test_bleu_from_summed_rows_is_sacrebleu_of_the_corpus(drawn, order):
    answers = [a for a, _ in drawn]
    width = max(len(r) for _, r in drawn)
    references = [r + [r[0]] * (width - len(r)) for _, r in drawn]
    scorer = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True, max_ngram_order=order)
    expected = scorer.corpus_score(answers, list(zip(*references, strict=True))).score / 100
    assert corpus_bleu(answers, references, order) == pytest.approx(expected, abs=1e-12)


@given(samples)
def test_metrics_are_bounded_and_do_not_depend_on_the_order_of_references(drawn):
    answers, references = [a for a, _ in drawn], [r for _, r in drawn]
    scores = text.score_texts(answers, references)
    turned = text.score_texts(answers, [r[::-1] + r[:1] for r in references])
    for name in ("bleu", "rouge1", "rouge2", "rouge_l", "meteor"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(turned, name))
    for name in ("rouge1", "rouge2", "rouge_l", "meteor"):
        assert np.all((getattr(scores, name) >= 0) & (getattr(scores, name) <= 1))
    assert 0 <= corpus_bleu(answers, references, 4) <= 1 + 1e-12


@given(sentences, st.lists(sentences, min_size=1, max_size=6))
def test_leaving_out_references_that_cannot_win_changes_nothing(answer, references):
    answer_words, reference_words = words(answer), [words(r) for r in references]
    best_meteor = meteor_score(reference_words, answer_words, wordnet=NoSynonyms)
    assert text.meteor(answer_words, reference_words) == pytest.approx(best_meteor, abs=1e-12)
    one_by_one = [text.rouge(answer_words, [r]) for r in reference_words]
    assert text.rouge(answer_words, reference_words) == tuple(np.max(one_by_one, axis=0))


def test_an_answer_equal_to_a_reference_scores_one():
    answer = "pores of 3.5 µm cover the surface"
    scores = text.score_texts([answer], [["something else", answer]])
    assert corpus_bleu([answer], [["something else", answer]], 4) == pytest.approx(1)
    assert (scores.rouge1[0], scores.rouge2[0], scores.rouge_l[0]) == (1, 1, 1)


def test_a_wrong_unit_costs_in_every_metric():
    right, wrong = (
        text.score_texts([a], [["a pore of 3.5 µm"]]) for a in ("a pore of 3.5 µm", "a pore of 3.5 m")
    )
    assert wrong.rouge1[0] < right.rouge1[0]
    assert wrong.rouge_l[0] < right.rouge_l[0]
    assert wrong.meteor[0] < right.meteor[0]
    assert text.bleu(wrong.bleu[0], 2) < text.bleu(right.bleu[0], 2)


def test_meteor_matches_stems_and_not_synonyms():
    exact, stem, synonym = (text.meteor((word,), [("pores",)]) for word in ("pores", "pore", "holes"))
    assert exact == stem > 0
    assert synonym == 0


def test_rouge_by_hand():
    """Answer a b c, reference a c b: unigrams 3/3, bigrams 0/2, longest common subsequence 2 of 3."""
    assert text.rouge(("a", "b", "c"), [("a", "c", "b")]) == pytest.approx((1, 0, 2 / 3))


def test_an_empty_answer_scores_nothing():
    scores = text.score_texts([""], [["a pore"]])
    assert (scores.rouge1[0], scores.rouge_l[0], scores.meteor[0]) == (0, 0, 0)
    assert text.bleu(scores.bleu[0], 2) == 0


def test_no_sample_gives_empty_rows():
    assert text.score_texts([], []).bleu.shape == (0, 10)


def test_a_sample_without_reference_is_refused():
    with pytest.raises(ValueError, match="sample 1 has no reference"):
        text.score_texts(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="2 answers but 1"):
        text.score_texts(["a", "b"], [["a"]])


def test_names_carry_the_installed_versions():
    assert text.bleu_name(4) == f"BLEU-4 (word, sacrebleu {version('sacrebleu')})"
    assert version("rouge-score") in text.rouge_name("L")
    assert text.meteor_name() == f"METEOR (nltk {version('nltk')}, exact+stem, no WordNet)"


@pytest.mark.real
def test_bleu_agrees_with_nlg_eval(real_data):
    """One file of answers, two of references, whitespace words: figures of Maluuba's nlg-eval."""
    folder = real_data / "metrics" / "nlg-eval"
    answers, *references = (
        (folder / f"{name}.txt").read_text().splitlines() for name in ("hyp", "ref1", "ref2")
    )
    expected = json.loads((folder / "expected.json").read_text())
    for order in (1, 2, 3, 4):
        value = corpus_bleu(answers, list(zip(*references, strict=True)), order)
        assert value == pytest.approx(expected[f"Bleu_{order}"], abs=1e-6)


@pytest.mark.real
def test_rouge_agrees_with_a_second_implementation(real_data):
    """Figures of pltrdy/rouge over whitespace words.

    It counts each distinct n-gram once, so distinct unigrams and bigrams are handed over as words; its
    ROUGE-L is no F1, so F1 is worked out from its precision and recall.
    """
    cases = json.loads((real_data / "metrics" / "rouge" / "data.json").read_text())
    assert cases
    for case in cases:
        answer, reference = case["hyp"].split(), case["ref"].split()
        expected = case["scores"]
        unigrams = text.rouge(distinct(answer), [distinct(reference)])[0]
        assert unigrams == pytest.approx(expected["rouge-1"]["f"], abs=1e-6)
        bigrams = text.rouge(distinct(pairs(answer)), [distinct(pairs(reference))])[0]
        assert bigrams == pytest.approx(expected["rouge-2"]["f"], abs=1e-6)
        precision, recall = expected["rouge-l"]["p"], expected["rouge-l"]["r"]
        longest = text.rouge(tuple(answer), [tuple(reference)])[2]
        assert longest == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)


def distinct(tokens):
    return tuple(dict.fromkeys(tokens))


def pairs(tokens):
    return [" ".join(pair) for pair in pairwise(tokens)]
