import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.evaluate.metrics.facts import check_facts, fact_counts

facts = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["low", "high", "3.5 µm"]))


def test_every_fact_gets_its_verdict():
    stated = {"class": "Rolled-in scale", "contrast": "low", "pitch": "3.5 \u03bcm", "charging": "yes"}
    record = {"class": "rolled-in_scale", "contrast": "high", "pitch": "3.5 \u00b5m", "texture": "coarse"}
    verdicts = {f.subject: f.verdict for f in check_facts(stated, record)}
    assert verdicts == {
        "class": "right",
        "contrast": "wrong",
        "pitch": "right",
        "texture": "missing",
    }


@pytest.mark.parametrize(("stated", "recorded"), [("3.5 nm", "3.5 µm"), ("5 mPa", "5 MPa"), ("5", "5 µm")])
def test_a_unit_is_part_of_a_value(stated, recorded):
    (fact,) = check_facts({"pitch": stated}, {"pitch": recorded})
    assert fact.verdict == "wrong"


def test_signs_without_words_are_compared_as_they_are():
    assert check_facts({"mark": "!"}, {"mark": "?"})[0].verdict == "wrong"
    assert check_facts({"mark": "!"}, {"mark": "!"})[0].verdict == "right"


def test_missing_counts_as_wrong_and_what_is_not_on_record_does_not_count():
    checked = [check_facts({"a": "1", "z": "9"}, {"a": "1", "b": "2"}), check_facts({}, {})]
    assert fact_counts(checked).tolist() == [[1, 2], [0, 0]]


@given(facts, facts)
def test_every_subject_on_record_is_judged_once(stated, record):
    checked = check_facts(stated, record)
    assert [f.subject for f in checked] == list(record)
    right, asked = fact_counts([checked])[0]
    assert 0 <= right <= asked == len(record)


@given(facts)
def test_stating_the_record_is_right_throughout(record):
    assert all(f.verdict == "right" for f in check_facts(record, record))
