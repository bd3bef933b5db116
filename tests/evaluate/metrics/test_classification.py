import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.evaluate.metrics import classification as c

CLASSES = ("pores", "fibres", "tips", "films")
labels = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from([*CLASSES, None, "unheard of"])),
    min_size=1,
    max_size=40,
)


def test_top_k_looks_at_the_first_k():
    truth = ["pores", "tips"]
    rankings = [("fibres", "pores", "tips"), ("tips", "pores", "fibres")]
    assert c.top_k(truth, rankings, 1).tolist() == [False, True]
    assert c.top_k(truth, rankings, 2).tolist() == [True, True]


def test_confusion_counts_answers_that_name_no_class():
    truth = ["pores", "pores", "tips", "tips"]
    predicted = ["pores", "tips", None, "a cat"]
    matrix = c.confusion_matrix(truth, predicted, ["pores", "tips"])
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 2]]


def test_a_true_class_that_is_not_listed_is_refused():
    with pytest.raises(ValueError, match="'tips' is not among the classes"):
        c.confusion_matrix(["tips"], ["pores"], ["pores"])


def test_per_class_by_hand():
    """Three pores, two found; one fibre called pores: precision 2/3, recall 2/3."""
    truth = ["pores", "pores", "pores", "fibres"]
    predicted = ["pores", "pores", "fibres", "pores"]
    pores, fibres, tips = c.per_class(c.confusion_matrix(truth, predicted, CLASSES[:3]), CLASSES[:3])
    assert (pores.precision, pores.recall, pores.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (fibres.precision, fibres.recall, fibres.f1) == (0, 0, 0)
    assert (pores.support, pores.predicted) == (3, 3)
    assert tips == c.ClassScore("tips", None, None, None, 0, 0)


def test_a_class_never_named_has_no_precision_but_a_recall_of_zero():
    (pores, _) = c.per_class(c.confusion_matrix(["pores"], ["tips"], ["pores", "tips"]), ["pores", "tips"])
    assert (pores.precision, pores.recall, pores.f1) == (None, 0, 0)


@given(labels)
def test_macro_f1_from_sums_is_the_mean_over_classes_that_have_one(pairs):
    truth, predicted = zip(*pairs, strict=True)
    rows = c.per_class(c.confusion_matrix(truth, predicted, CLASSES), CLASSES)
    expected = np.mean([row.f1 for row in rows if row.f1 is not None])
    value = c.macro_f1(c.class_counts(truth, predicted, CLASSES).sum(axis=0))
    assert float(value) == pytest.approx(expected)


@given(labels)
def test_recall_weighted_by_support_is_accuracy(pairs):
    truth, predicted = zip(*pairs, strict=True)
    rows = c.per_class(c.confusion_matrix(truth, predicted, CLASSES), CLASSES)
    right = sum((row.recall or 0) * row.support for row in rows)
    assert right == pytest.approx(sum(t == p for t, p in pairs))
    assert sum(row.support for row in rows) == len(pairs)
