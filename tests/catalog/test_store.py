"""Writing the same thing twice changes nothing, and a stage can ask for exactly what is missing."""

import random
from collections import Counter

import pytest

from micrographia.catalog import Catalog
from micrographia.catalog.store import IDS_PER_QUERY
from micrographia.records import (
    Acquisition,
    Answer,
    Box,
    Instrument,
    Measurement,
    Quantity,
    Scale,
    ScaleReading,
)
from tests.catalog.records import conversation, identity, micrograph, refused, taken


@pytest.fixture
def catalog(tmp_path):
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    yield opened
    opened.close()


def fill(catalog, count, **told):
    catalog.record([taken(i, **told) for i in range(count)], [micrograph(i) for i in range(count)])


def everything(catalog):
    return (
        *(catalog.sources(), catalog.micrographs(), catalog.clusters(), catalog.parts(), catalog.count()),
        *(catalog.measurements("v1"), list(catalog.conversations("c")), catalog.answers("s")),
        catalog.landmarks("v1"),
    )


def contrast(value):
    return Measurement(name="contrast", quantity=Quantity(value=value), method="v1")


def answer(about, text="Fibres."):
    return Answer(micrograph=identity(about), student="s", question="q", text=text)


def write(catalog):
    fill(catalog, 3, label="Fibres")
    catalog.record([refused("lab/torn.png")])
    catalog.set_clusters({identity(0): identity(0), identity(1): identity(0)})
    catalog.divide(0.3, 0.3, 0)
    catalog.record_landmarks("v1", {identity(0): b"\0\1"})
    catalog.record_measurements("v1", {identity(0): [contrast(0.5)]})
    catalog.record_lessons("c", {identity(0): [conversation(1, 0), conversation(2, 0)]})
    catalog.record_answers("s", {conversation(1, 0).id: answer(0)})


def test_writing_twice_changes_nothing(catalog):
    write(catalog)
    before = everything(catalog)
    write(catalog)
    assert everything(catalog) == before
    assert all(before)


def test_it_is_all_there_when_opened_again(catalog, tmp_path):
    write(catalog)
    again = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    assert everything(again) == everything(catalog)
    again.close()


def test_what_is_done_is_not_overwritten(catalog):
    """A slower process that comes second with the same work does not change what was built upon."""
    write(catalog)
    catalog.record_measurements("v1", {identity(0): [contrast(0.9)]})
    catalog.record_answers("s", {conversation(1, 0).id: answer(0, "Tips.")})
    assert catalog.measurements("v1") == {identity(0): (contrast(0.5),)}
    assert catalog.answers("s") == {conversation(1, 0).id: answer(0)}


def test_files_are_kept_with_what_became_of_them(catalog):
    catalog.record([refused("b.png"), taken(1, "c.png")], [micrograph(1)])
    catalog.record([refused("a.png", "empty")])
    assert [source.path for source in catalog.sources()] == ["a.png", "b.png", "c.png"]
    assert [source.reason for source in catalog.sources("refused")] == ["empty", "it ends early"]
    assert catalog.sources("taken") == [taken(1, "c.png")]


def test_one_image_in_two_files_is_one_micrograph(catalog):
    catalog.record([taken(1, "a.png"), taken(1, "b.png")], [micrograph(1), micrograph(1)])
    assert catalog.micrographs() == [micrograph(1)]


def test_a_label_on_which_files_differ_is_dropped_with_a_note(catalog):
    catalog.record([taken(1, "a.png", label="Tips"), taken(2, label="Films")], [micrograph(1), micrograph(2)])
    assert catalog.labels() == ["Films", "Tips"]
    catalog.record([taken(1, "b.png", label="Fibres")], [micrograph(1)])
    (dropped,) = (m for m in catalog.micrographs() if m.id == identity(1))
    assert dropped.label is None
    assert dropped.notes == ("label dropped: the same image is given as Fibres and as Tips",)
    assert catalog.labels() == ["Films"]
    catalog.record([taken(1, "b.png", label="Tips")])
    (settled,) = (m for m in catalog.micrographs() if m.id == identity(1))
    assert (settled.label, settled.notes) == ("Tips", ())


def test_what_files_tell_adds_up(catalog):
    reading = ScaleReading(source="table", pixel_size_nm=2.0)
    other = ScaleReading(source="sidecar", pixel_size_nm=5.0)
    header = Instrument(technique="SEM")
    catalog.record(
        [
            taken(1, "a.png", group="s1", scale=Scale.of((reading,)), instrument=Instrument(technique="TEM")),
            taken(1, "b.png", group="s2", scale=Scale.of((reading, other)), instrument=Instrument(maker="X")),
        ],
        [micrograph(1, instrument=header)],
    )
    (merged,) = catalog.micrographs()
    assert merged.group == "s1"
    assert set(merged.scale.readings) == {reading, other}
    assert merged.scale.verdict == "conflict"
    assert merged.instrument == Instrument(technique="SEM", maker="X")


def test_what_an_image_tells_of_its_taking_is_kept(catalog):
    catalog.record([taken(1), taken(2)], [micrograph(1), micrograph(2)])
    told = Acquisition(bar=Box(top=1, left=2, bottom=3, right=4), missing=("voltage",))
    catalog.record_acquisitions("1", {identity(1): told})
    assert catalog.acquisition(identity(1)) == told
    assert catalog.acquisition(identity(2)) == Acquisition()


def test_both_groups_of_an_image_bind_it(catalog):
    catalog.record(
        [
            *(taken(1, "a.png", group="s1"), taken(1, "b.png", group="s2")),
            *(taken(2, group="s1"), taken(3, group="s2")),
            *(taken(i) for i in range(10, 30)),
        ],
        [micrograph(i) for i in [1, 2, 3, *range(10, 30)]],
    )
    for seed in range(10):
        catalog.divide_into_folds(3, 0.3, seed)
        assert all(len({catalog.parts(k)[identity(i)] for i in (1, 2, 3)}) == 1 for k in range(3))


def test_a_micrograph_without_a_file_is_seen_by_no_stage(catalog):
    write(catalog)
    catalog.record([taken(7, "lab/00000.png")], [micrograph(7)])  # the file of 0 now holds another image
    gone = identity(0)
    assert gone not in {m.id for m in catalog.micrographs()}
    assert gone not in {m.id for m in catalog.unmeasured("v2") + catalog.untaught("d")}
    assert gone not in {m.id for m in catalog.without_landmarks("v2")}
    assert gone not in catalog.landmarks("v1")
    assert list(catalog.conversations("c")) == []
    catalog.divide(0.3, 0.3, 1)
    assert sum(sum(n.values()) for n in catalog.count_parts().values()) == 3


def test_it_is_seen_again_when_the_file_is_back(catalog):
    write(catalog)
    before = everything(catalog)
    catalog.record([taken(7, "lab/00000.png")], [micrograph(7)])
    catalog.record([taken(0, label="Fibres")], [micrograph(0)])
    after = everything(catalog)
    assert after[:4] == before[:4]
    assert list(catalog.conversations("c")) == [*sorted_by_id(conversation(1, 0), conversation(2, 0))]


def sorted_by_id(*records):
    return sorted(records, key=lambda record: record.id)


def test_a_file_that_became_unreadable_takes_its_image_away(catalog):
    fill(catalog, 2)
    catalog.record([refused("lab/00000.png")])
    assert [m.id for m in catalog.micrographs()] == [identity(1)]


def test_what_is_missing_shrinks_as_work_is_done(catalog):
    fill(catalog, 5)
    catalog.record_measurements("v1", {identity(i): [contrast(0.1)] for i in (1, 3)})
    catalog.record_lessons("c", {identity(2): [conversation(1, 2)], identity(4): []})
    assert {m.id for m in catalog.unmeasured("v1")} == {identity(i) for i in (0, 2, 4)}
    assert {m.id for m in catalog.untaught("c")} == {identity(i) for i in (0, 1, 3)}
    assert [m.id for m in catalog.unmeasured("v2")] == sorted(identity(i) for i in range(5))
    assert len(catalog.untaught("another course")) == 5


def test_what_is_now_said_of_an_image_is_taught_anew(catalog):
    """Its conversations and their answers speak of what it was thought to be."""
    fill(catalog, 2, label="Fibres")
    catalog.record_lessons("c", {identity(i): [conversation(1, i)] for i in range(2)})
    catalog.record_answers("s", {conversation(1, i).id: answer(i) for i in range(2)})
    catalog.record([taken(0, label="Tips")])
    assert [m.id for m in catalog.untaught("c")] == [identity(0)]
    assert list(catalog.conversations("c")) == [conversation(1, 1)]
    assert catalog.answers("s") == {conversation(1, 1).id: answer(1)}
    catalog.record([taken(1, label="Fibres", group="s1"), taken(1, "copy.png", label="Fibres")])
    assert list(catalog.conversations("c")) == [conversation(1, 1)]


def test_conversations_of_a_part_and_of_a_task(catalog):
    fill(catalog, 6)
    catalog.divide(0.3, 0.3, 0)
    lessons = {identity(i): [conversation(1, i), conversation(2, i, "caption")] for i in range(6)}
    catalog.record_lessons("c", lessons)
    for part in ("train", "validation", "test"):
        there = {identity for identity, p in catalog.parts().items() if p == part}
        assert there
        found = list(catalog.conversations("c", part=part, task="caption"))
        assert {c.micrographs[0] for c in found} == there
        assert {c.task for c in found} == {"caption"}
        assert {m.id for m in catalog.micrographs(part)} == there
    everyone = list(catalog.conversations("c"))
    assert len(everyone) == 12
    assert everyone == sorted(everyone, key=lambda c: (c.micrographs[0], c.id))


def test_parts_stay_when_images_are_added(catalog):
    fill(catalog, 20, label="Fibres")
    catalog.divide(0.2, 0.2, 0)
    before = catalog.parts()
    fill(catalog, 40, label="Fibres")
    assert catalog.divide(0.2, 0.2, 0) == {}
    assert {i: p for i, p in catalog.parts().items() if i in before} == before
    assert len(catalog.parts()) == 40


@pytest.mark.parametrize("other", [(0.2, 0.2, 7), (0.5, 0.2, 0), (0.2, 0.5, 0)])
def test_another_seed_or_share_divides_anew(catalog, other):
    fill(catalog, 40, label="Fibres")
    catalog.divide(0.2, 0.2, 0)
    before = catalog.parts()
    catalog.divide(*other)
    assert catalog.parts() != before
    assert Counter(catalog.parts().values())["test"] == round(other[0] * 40)
    catalog.divide(0.2, 0.2, 0)
    assert catalog.parts() == before


def test_folds_replace_a_division_and_a_division_replaces_folds(catalog):
    fill(catalog, 12)
    assert catalog.folds() == 0
    catalog.divide(0.2, 0.2, 0)
    assert catalog.folds() == 1
    catalog.divide_into_folds(4, 0.2, 0)
    assert catalog.folds() == 4
    tests = [m.id for k in range(4) for m in catalog.micrographs("test", fold=k)]
    assert sorted(tests) == sorted(identity(i) for i in range(12))
    catalog.divide_into_folds(3, 0.2, 0)
    assert (catalog.folds(), catalog.parts(3)) == (3, {})
    catalog.divide(0.2, 0.2, 0)
    assert (catalog.folds(), len(catalog.parts())) == (1, 12)


def test_who_is_told_to_be_the_test_is_the_whole_test(catalog):
    catalog.record(
        [taken(i, part="test" if i < 3 else None) for i in range(30)], [micrograph(i) for i in range(30)]
    )
    catalog.divide(0.5, 0.2, 0)
    assert {m.id for m in catalog.micrographs("test")} == {identity(i) for i in range(3)}
    assert catalog.micrographs("validation")


def test_told_train_and_test_still_leave_some_to_validate_with(catalog):
    parts = {i: "test" if i < 5 else "train" for i in range(30)}
    catalog.record([taken(i, part=part) for i, part in parts.items()], [micrograph(i) for i in parts])
    catalog.divide(0.2, 0.2, 0)
    assert {m.id for m in catalog.micrographs("test")} == {identity(i) for i in range(5)}
    assert len(catalog.micrographs("validation")) == 5


def test_who_is_told_to_be_train_is_never_tested(catalog):
    parts = {i: "train" if i < 15 else None for i in range(30)}
    catalog.record([taken(i, part=part) for i, part in parts.items()], [micrograph(i) for i in parts])
    catalog.divide(0.4, 0.2, 0)
    test, validation = ({m.id for m in catalog.micrographs(part)} for part in ("test", "validation"))
    assert test <= {identity(i) for i in range(15, 30)}
    assert len(test) == 12
    assert validation
    catalog.divide(0.4, 0.2, 0)
    assert {m.id for m in catalog.micrographs("validation")} == validation


def test_a_part_told_later_comes_before_the_one_it_had(catalog):
    fill(catalog, 10)
    catalog.divide(0.2, 0.2, 0)
    someone = catalog.micrographs("train")[0]
    number = next(i for i in range(10) if identity(i) == someone.id)
    catalog.record([taken(number, part="test")])
    catalog.divide(0.2, 0.2, 0)
    assert catalog.parts()[someone.id] == "test"


def test_clusters_are_replaced_as_a_whole(catalog):
    fill(catalog, 3)
    catalog.set_clusters({identity(0): identity(0), identity(1): identity(0)})
    catalog.set_clusters({identity(2): identity(1), identity(1): identity(1)})
    assert catalog.clusters() == {identity(2): identity(1), identity(1): identity(1)}


def test_what_is_bound_at_one_remove_is_one_group(catalog):
    """0 and 1 are of one specimen, 1 and 2 look alike, 3 is alone."""
    fill(catalog, 4)
    catalog.record([taken(0, group="s1"), taken(1, group="s1")])
    catalog.set_clusters({identity(1): "c", identity(2): "c"})
    groups = catalog.groups()
    assert groups[identity(0)] == groups[identity(1)] == groups[identity(2)] != groups[identity(3)]


def test_more_images_than_a_statement_has_parameters(catalog):
    count = 3 * IDS_PER_QUERY + 7
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    catalog.record([taken(i, label=f"class {i % 3}") for i in numbers], [micrograph(i) for i in numbers])
    catalog.record([taken(i, label="one") for i in numbers])
    assert [m.id for m in catalog.micrographs()] == sorted(identity(i) for i in range(count))
    assert catalog.labels() == ["one"]
    catalog.record_measurements("v1", {identity(i): [contrast(0.1)] for i in numbers[1:]})
    assert [m.id for m in catalog.unmeasured("v1")] == [identity(numbers[0])]
    catalog.divide(0.2, 0.1, 0)
    assert sum(sum(counts.values()) for counts in catalog.count_parts().values()) == count


def test_counts_are_for_the_summary(catalog):
    write(catalog)
    assert catalog.count() == {
        "files taken": 3,
        "files refused": 1,
        "micrographs": 3,
        "measurements": 1,
        "conversations": 2,
        "answers": 1,
    }
    assert sum(n for counts in catalog.count_parts().values() for n in counts.values()) == 3
    assert {label for counts in catalog.count_parts().values() for label in counts} == {"Fibres"}


def test_a_batch_that_fails_leaves_nothing_behind(catalog):
    fill(catalog, 1)
    before = everything(catalog)
    lessons = {identity(0): [conversation(1, 0)], identity(99): []}  # there is no micrograph 99
    with pytest.raises(Exception, match="FOREIGN KEY"):
        catalog.record_lessons("c", lessons)
    assert everything(catalog) == before
