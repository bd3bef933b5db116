import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from micrographia.students.losses import (
    contrastive_loss,
    hard_negatives,
    language_loss,
    matching_loss,
    matching_pairs,
    same_text,
)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scores(seed, n):
    return np.random.default_rng(seed).normal(size=(n, n)) * 3


def test_contrast_is_the_published_formula():
    s = scores(0, 5)
    i2t, t2i = np.log(softmax(s)).diagonal(), np.log(softmax(s.T)).diagonal()
    expected = -(i2t + t2i).mean() / 2
    eye = torch.eye(5, dtype=torch.bool)
    assert math.isclose(float(contrastive_loss(torch.tensor(s), eye, eye)), expected, rel_tol=1e-9)


def test_identical_texts_share_the_target():
    s = scores(1, 3)
    same = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)
    target = same / same.sum(1, keepdims=True)
    expected = -((target * np.log(softmax(s))).sum(1) + (target * np.log(softmax(s.T))).sum(1)).mean() / 2
    value = contrastive_loss(torch.tensor(s), torch.tensor(same), torch.eye(3, dtype=torch.bool))
    assert math.isclose(float(value), expected, rel_tol=1e-9)


def test_a_pair_of_one_group_is_no_negative_in_contrast():
    s = scores(2, 3)
    related = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    eye = torch.eye(3, dtype=torch.bool)
    value = contrastive_loss(torch.tensor(s), eye, related)
    for other in (-50.0, 50.0):
        changed = torch.tensor(s)
        changed[0, 1] = changed[1, 0] = other
        assert torch.isclose(contrastive_loss(changed, eye, related), value)


def test_one_group_makes_contrast_zero_and_finite():
    s = torch.tensor(scores(3, 4)).requires_grad_()
    value = contrastive_loss(s, torch.eye(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(s.grad).all()


GROUPS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@given(GROUPS, st.integers(0, 1000), st.booleans())
def test_negatives_are_of_another_group_and_another_text(groups, seed, sample):
    n = len(groups)
    torch.manual_seed(seed)
    texts = torch.randint(0, 3, (n, 1))
    groups = torch.tensor(groups)
    same = same_text(texts, torch.ones_like(texts))
    forbidden = same | (groups[:, None] == groups)
    pairs = matching_pairs(torch.randn(n, n) * 20, forbidden, sample=sample)
    possible = (~forbidden).any(1)
    if not possible.any():
        assert pairs is None
        return
    images, words, labels = pairs
    assert set(labels.tolist()) == {0.0, 1.0}
    assert labels.sum() * 3 == len(labels)
    for image, word, label in zip(images, words, labels, strict=True):
        if label:
            assert image == word and possible[image]
        else:
            assert groups[image] != groups[word]
            assert texts[image] != texts[word]


def test_one_group_has_no_pairs():
    assert matching_pairs(torch.randn(4, 4), torch.ones(4, 4, dtype=torch.bool), sample=True) is None


def test_hard_negatives_follow_the_softmax():
    torch.manual_seed(0)
    similarity = torch.tensor([[0.0, 1.0, 2.0, 9.0]]).repeat(20_000, 1)
    allowed = torch.tensor([[True, True, True, False]]).repeat(20_000, 1)
    drawn = hard_negatives(similarity, allowed, sample=True)
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    expected = torch.cat([similarity[0, :3].softmax(0), torch.zeros(1)])
    assert torch.allclose(shares, expected, atol=0.02)
    assert set(hard_negatives(similarity, allowed, sample=False).tolist()) == {2}


def test_hard_negatives_of_very_cold_similarities_stay_allowed():
    similarity = torch.tensor([[1000.0, -1000.0, -1000.0]])
    allowed = torch.tensor([[False, True, True]])
    assert hard_negatives(similarity, allowed, sample=True).item() in (1, 2)


def test_matching_is_binary_cross_entropy():
    logits, y = np.array([2.0, -1.0, 0.5]), np.array([1.0, 0.0, 1.0])
    p = 1 / (1 + np.exp(-logits))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert math.isclose(float(matching_loss(torch.tensor(logits), torch.tensor(y))), expected, rel_tol=1e-9)


def test_language_is_the_mean_negative_log_likelihood():
    logits = np.random.default_rng(4).normal(size=(6, 7))
    labels = np.array([0, 3, 6, 2, 2, 5])
    expected = -np.log(softmax(logits))[np.arange(6), labels].mean()
    assert math.isclose(
        float(language_loss(torch.tensor(logits), torch.tensor(labels))), expected, rel_tol=1e-9
    )


def test_language_of_no_answer_is_zero():
    assert float(language_loss(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long))) == 0


def test_padding_does_not_make_texts_differ():
    ids = torch.tensor([[5, 6, 0], [5, 6, 9], [5, 6, 9]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1]])
    assert same_text(ids, mask).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
