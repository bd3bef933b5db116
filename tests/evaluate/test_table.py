from micrographia.evaluate import table
from micrographia.records import Score


def score(system, metric="top-1", value=0.9712, unscored=0, groups=31):
    return Score(
        task="category",
        metric=metric,
        system=system,
        value=value,
        low=0.95,
        high=0.98,
        n=215,
        groups=groups,
        unscored=unscored,
    )


def test_a_row_is_a_metric_and_a_column_a_system():
    scores = [score("student"), score("blind", value=0.96), score("student", metric="macro F1")]
    assert table.systems(scores) == ("student", "blind")
    assert table.by_metric(scores) == {
        ("category", "top-1"): {"student": scores[0], "blind": scores[1]},
        ("category", "macro F1"): {"student": scores[2]},
    }
    assert table.figure(scores[1]) == "0.960 [0.950, 0.980]"


def test_unscored_items_are_shown():
    assert table.counts(score("student", unscored=3, groups=1)) == "n=215, 1 group, 3 unscored"
