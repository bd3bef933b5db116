"""What is bound is never parted, whatever the images; and a division is fair, repeatable and only grows."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.catalog.splits import Bound, divide, divide_into_folds

BONDS = [*(f"group {i}" for i in range(6)), *(f"cluster {i}" for i in range(4))]
SHARES = st.floats(0.05, 0.6)
SEEDS = st.integers(0, 1000)


@st.composite
def images(draw, parts=(None,), most=40):
    count = draw(st.integers(1, most))
    return [
        Bound(
            id=f"{i:02}",
            label=draw(st.sampled_from(["Fibres", "Tips", None])),
            bonds=tuple(draw(st.sets(st.sampled_from(BONDS), max_size=2))),
            part=draw(st.sampled_from(parts)),
        )
        for i in range(count)
    ]


def singles(counts):
    """Images of each class that nothing binds."""
    return [Bound(f"{label}{i:04}", label) for label, count in counts.items() for i in range(count)]


def assert_nothing_is_parted(images, parts):
    assert set(parts) == {image.id for image in images}
    for bond in BONDS:
        assert len({parts[image.id] for image in images if bond in image.bonds}) <= 1


def by_label(images, parts):
    return Counter((image.label, parts[image.id]) for image in images)


@given(images=images(parts=(None, "train", "validation", "test")), test=SHARES, validation=SHARES, seed=SEEDS)
def test_no_group_and_no_cluster_is_parted(images, test, validation, seed):
    division = divide(images, test, validation, seed)
    assert_nothing_is_parted(images, division.parts)
    assert set(division.parts.values()) <= {"train", "validation", "test"}


@given(images=images(), folds=st.integers(2, 5), validation=SHARES, seed=SEEDS)
def test_no_group_and_no_cluster_is_parted_in_any_fold(images, folds, validation, seed):
    divisions = divide_into_folds(images, folds, validation, seed)
    assert len(divisions) == folds
    for division in divisions:
        assert_nothing_is_parted(images, division.parts)


@given(images=images(parts=(None, "test")), folds=st.integers(2, 5), validation=SHARES, seed=SEEDS)
def test_every_image_is_tested_in_exactly_one_fold(images, folds, validation, seed):
    tested = Counter(
        identity
        for division in divide_into_folds(images, folds, validation, seed)
        for identity, part in division.parts.items()
        if part == "test"
    )
    assert tested == {image.id: 1 for image in images}


def test_a_chain_of_bonds_binds_its_ends():
    chain = [Bound(f"{i}", "Tips", (f"group {i}", f"cluster {i + 1}", f"group {i + 1}")) for i in range(9)]
    for seed in range(20):
        assert len(set(divide(chain, 0.4, 0.4, seed).parts.values())) == 1


@given(
    counts=st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 80), min_size=1),
    test=st.floats(0.1, 0.4),
    validation=st.floats(0.1, 0.4),
    seed=SEEDS,
)
def test_every_class_is_divided_by_the_shares_to_within_an_image_or_two(counts, test, validation, seed):
    free = singles(counts)
    found = by_label(free, divide(free, test, validation, seed).parts)
    shares = {"train": (1 - test) * (1 - validation), "test": test, "validation": (1 - test) * validation}
    for label, count in counts.items():
        for part, share in shares.items():
            assert abs(found[label, part] - count * share) < 2


@pytest.mark.parametrize("seed", range(5))
def test_large_groups_are_placed_first_so_that_single_images_can_even_out(seed):
    large = [Bound(f"l{i:02}", "Tips", (f"group {i // 15}",)) for i in range(45)]
    found = Counter(divide([*large, *singles({"Tips": 100})], 0.2, 0.25, seed).parts.values())
    assert all(abs(found[part] - 145 * share) < 2 for part, share in {"test": 0.2, "validation": 0.2}.items())


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_every_class_is_spread_evenly_over_the_folds(folds):
    free = singles({"A": 101, "B": 40, "C": 7})
    for division in divide_into_folds(free, folds, 0.2, seed=3):
        found = by_label(free, division.parts)
        for label, count in {"A": 101, "B": 40, "C": 7}.items():
            assert abs(found[label, "test"] - count / folds) < 1
            assert abs(found[label, "validation"] - 0.2 * (count - count / folds)) < 2


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_two_has_a_test_image(seed):
    free = singles({"rare": 2, "common": 50})
    found = by_label(free, divide(free, 0.1, 0.1, seed).parts)
    assert (found["rare", "train"], found["rare", "test"]) == (1, 1)


@given(images=images(), seed=SEEDS, data=st.data())
def test_the_order_of_the_images_makes_no_difference(images, seed, data):
    shuffled = data.draw(st.permutations(images))
    assert divide(shuffled, 0.2, 0.1, seed) == divide(images, 0.2, 0.1, seed)
    assert divide_into_folds(shuffled, 3, 0.1, seed) == divide_into_folds(images, 3, 0.1, seed)


def test_another_seed_gives_another_division():
    free = singles({"A": 30})
    divisions = [tuple(sorted(divide(free, 0.2, 0.1, seed).parts.items())) for seed in range(5)]
    assert len(set(divisions)) == 5


@given(images=images(), seed=SEEDS, new=st.integers(1, 20))
def test_an_image_keeps_its_part_when_others_are_added(images, seed, new):
    before = divide(images, 0.3, 0.2, seed).parts
    kept = [Bound(i.id, i.label, i.bonds, before[i.id]) for i in images]
    added = [Bound(f"new{i}", "Tips", (f"group new {i // 2}",)) for i in range(new)]
    after = divide([*kept, *added], 0.3, 0.2, seed)
    assert {i.id: after.parts[i.id] for i in images} == before
    assert after.moved == {}


def test_an_added_image_joins_the_group_it_is_bound_to():
    for part in ("train", "validation", "test"):
        old = Bound("old", "Tips", ("group s1",), part)
        division = divide([old, Bound("new", "Tips", ("group s1",))], 0.2, 0.1, 0)
        assert division.parts == {"old": part, "new": part}


def test_where_a_new_bond_joins_two_parts_the_test_image_is_given_up_with_the_reason():
    trained, tested = Bound("a", "Tips", ("cluster c",), "train"), Bound("b", "Tips", ("cluster c",), "test")
    division = divide([trained, tested], 0.2, 0.1, 0)
    assert division.parts == {"a": "train", "b": "train"}
    assert division.moved == {"b": "from test to train, where an image bound to it is"}


@given(images=images(parts=(None, None, "train", "validation", "test")), seed=SEEDS)
def test_who_is_told_where_to_be_is_there_or_listed_as_moved(images, seed):
    division = divide(images, 0.3, 0.2, seed)
    for image in images:
        elsewhere = image.part not in (None, division.parts[image.id])
        assert (image.id in division.moved) == elsewhere


def test_with_no_share_for_the_test_only_who_is_told_joins_it():
    told = [Bound(f"t{i}", "Tips", (), "test") for i in range(5)]
    division = divide([*told, *singles({"Tips": 40})], 0, 0.25, 0)
    assert {i for i, part in division.parts.items() if part == "test"} == {image.id for image in told}
    assert Counter(division.parts.values()) == {"test": 5, "train": 30, "validation": 10}


def test_nothing_to_divide():
    assert divide([], 0.2, 0.1, 0).parts == {}
    assert [division.parts for division in divide_into_folds([], 2, 0.1, 0)] == [{}, {}]
