from collections import Counter

import pytest

from micrographia.adapt.ranks import RankDraw
from micrographia.errors import PlanError


def test_all_ranks_come_equally_often():
    counts = Counter(RankDraw(4, 16).at(step) for step in range(13_000))
    assert set(counts) == set(range(4, 17))
    assert all(850 < n < 1150 for n in counts.values())


def test_weights_say_how_often():
    draw = RankDraw(1, 4, (1.0, 0.0, 0.0, 3.0))
    counts = Counter(draw.at(step) for step in range(4000))
    assert draw.ranks == (1, 4)
    assert set(counts) == {1, 4}
    assert counts[4] / counts[1] == pytest.approx(3, rel=0.15)


def test_a_step_has_one_rank_whoever_asks_and_whenever():
    steps = [5, 3, 5, 1000, 3]
    assert [RankDraw(1, 99, seed=7).at(s) for s in steps] == [RankDraw(1, 99, seed=7).at(s) for s in steps]
    assert [RankDraw(1, 99, seed=7).at(s) for s in range(9)] != [
        RankDraw(1, 99, seed=8).at(s) for s in range(9)
    ]


@pytest.mark.parametrize(
    ("lowest", "highest", "weights"),
    [(0, 4, None), (5, 4, None), (4, 6, (1, 1)), (4, 5, (1, -1)), (4, 5, (0, 0))],
)
def test_what_is_no_distribution_is_refused(lowest, highest, weights):
    with pytest.raises(PlanError, match="rank"):
        RankDraw(lowest, highest, weights)
