"""What a student learns from, and that its fingerprint changes with all that decides what it becomes."""

from dataclasses import replace

import pytest

from micrographia.errors import PlanError
from micrographia.recipe import TuneSection
from micrographia.teach.generate import current_course
from micrographia.tune.corpus import corpus_of
from micrographia.workspace import open_workspace


@pytest.fixture
def workspace(taught):
    with open_workspace(taught) as opened:
        yield opened


@pytest.fixture
def corpus(workspace):
    return corpus_of(workspace, 0)


def test_rows_parts_and_groups_are_those_of_the_catalogue(workspace, corpus):
    catalog = workspace.catalog
    assert [m.id for m in corpus.micrographs] == sorted(m.id for m in catalog.micrographs())
    for part, rows in corpus.parts.items():
        assert {corpus.micrographs[row].id for row in rows} == {m.id for m in catalog.micrographs(part)}
    group_of = catalog.groups()
    names = {number: group_of[m.id] for m, number in zip(corpus.micrographs, corpus.groups, strict=True)}
    assert len(names) == len(set(group_of.values()))
    assert corpus.untaught == 0


def test_conversations_of_a_part_are_about_its_images(corpus):
    train = {corpus.micrographs[row].id for row in corpus.parts["train"]}
    assert {c.micrographs[0] for c in corpus.of("train")} == train
    assert len(corpus.of("train")) < len(corpus.conversations)


def test_the_fingerprint_is_of_everything_but_the_name_and_what_memory_asks_for(corpus):
    recipe = TuneSection()
    same_student = {"name": "another", "too_large": "accumulate", "gradient_checkpointing": True}
    same = {corpus.fingerprint(recipe), corpus.fingerprint(recipe.model_copy(update=same_student))}
    first, *others = corpus.conversations
    answer = first.turns[1].model_copy(update={"text": "!"})
    reworded = first.model_copy(update={"turns": (first.turns[0], answer)})
    train, test = corpus.parts["train"], corpus.parts["test"]
    changed = [
        corpus.fingerprint(TuneSection(seed=1)),
        replace(corpus, conversations=others).fingerprint(recipe),
        replace(corpus, conversations=[reworded, *others]).fingerprint(recipe),
        replace(corpus, groups=[0] * len(corpus.groups)).fingerprint(recipe),
        replace(corpus, parts=corpus.parts | {"train": test, "test": train}).fingerprint(recipe),
    ]
    assert len(same) == 1 and len({*same, *changed}) == 1 + len(changed)


def test_images_that_are_not_divided_yet_are_no_corpus(workspace, monkeypatch):
    monkeypatch.setattr(workspace.catalog, "parts", lambda fold=0: {})
    with pytest.raises(PlanError, match=r"not divided.*`micrographia run`"):
        corpus_of(workspace, 0)


def test_where_all_is_told_to_be_test_there_is_nothing_to_learn(workspace, monkeypatch):
    everyone = {m.id: "test" for m in workspace.catalog.micrographs()}
    monkeypatch.setattr(workspace.catalog, "parts", lambda fold=0: everyone)
    with pytest.raises(PlanError, match=r"the train part has no image: .*fewer to be test"):
        corpus_of(workspace, 0)


def test_a_part_without_images_is_told_from_one_without_conversations(workspace, monkeypatch):
    train, validation = ({m.id for m in workspace.catalog.micrographs(p)} for p in ("train", "validation"))
    conversations = list(workspace.catalog.conversations(current_course(workspace)))
    of_train = [c for c in conversations if c.micrographs[0] in train]
    with monkeypatch.context() as untaught:
        untaught.setattr(workspace.catalog, "conversations", lambda course: of_train)
        with pytest.raises(PlanError, match="no image of the validation part has a conversation"):
            corpus_of(workspace, 0)
    parts = workspace.catalog.parts(0)
    elsewhere = parts | dict.fromkeys(validation, "train")
    monkeypatch.setattr(workspace.catalog, "parts", lambda fold=0: elsewhere)
    with pytest.raises(PlanError, match=r"the validation part has no image: .*three at least"):
        corpus_of(workspace, 0)
