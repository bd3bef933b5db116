"""What training sees is decided by the seed and the position alone."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from micrographia.tune.order import MOST_ROUNDS, Draw, Order, Plain

IMAGES = st.lists(st.integers(0, 1000), min_size=1, max_size=12, unique=True)


@given(images=IMAGES, epochs=st.integers(1, 4), seed=st.integers(0, 2**31), data=st.data())
def test_a_draw_does_not_depend_on_what_was_drawn_before(images, epochs, seed, data):
    order = Order(images, epochs, seed)
    straight = [order[i] for i in range(len(order))]
    positions = data.draw(st.permutations(range(len(order))))
    again = Order(images, epochs, seed)
    assert {i: again[i] for i in positions} == dict(enumerate(straight))


@given(images=IMAGES, epochs=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_every_epoch_has_every_image_once(images, epochs, seed):
    order = Order(images, epochs, seed)
    assert len(order) == epochs * len(images)
    for epoch in range(epochs):
        start = epoch * len(images)
        seen = [order[i].image for i in range(start, start + len(images))]
        assert sorted(seen) == sorted(images)


def test_epochs_and_seeds_differ_in_their_order():
    def epochs(seed):
        order = Order(range(50), 3, seed)
        return [tuple(order[50 * epoch + i].image for i in range(50)) for epoch in range(3)]

    assert len({*epochs(0), *epochs(1)}) == 6


def test_no_two_draws_share_a_view():
    seeds = [Order(range(100), 20, seed)[i].seed for seed in range(3) for i in range(2000)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    # The view is the seed modulo eight: all are equally frequent (five standard deviations of a binomial).
    assert all(abs(n - 750) < 5 * (6000 * 7 / 64) ** 0.5 for n in Counter(s % 8 for s in seeds).values())


@given(images=st.integers(1, 300), epochs=st.integers(1, 60), batch=st.integers(1, 40))
def test_rounds_are_few_and_leave_no_more_than_a_part_of_one(images, epochs, batch):
    order = Order(range(images), epochs, 0)
    rounds, steps = order.rounds(batch)
    whole = max(1, len(order) // batch)
    assert 1 <= rounds <= MOST_ROUNDS
    assert whole - rounds < rounds * steps <= whole


def test_a_round_is_an_epoch_where_epochs_are_few():
    assert Order(range(120), 5, 0).rounds(8) == (5, 15)


def test_the_plain_order_is_the_order_given():
    plain = Plain([5, 3, 9])
    assert [plain[i] for i in range(len(plain))] == [Draw(5, None), Draw(3, None), Draw(9, None)]
