"""The stage as a whole: from a tuned student to its scores, their table and the report."""

import json
import shutil

import pytest

from micrographia.assistant import Assistant
from micrographia.errors import StudentError, WorkspaceError
from micrographia.evaluate import run as module
from micrographia.evaluate.exam import BLIND, MAJORITY, NEAREST, STUDENT
from micrographia.evaluate.run import evaluate
from micrographia.evaluate.scoring import CLASSIFICATION, DIFFERENCE, FACTS, facts_of
from micrographia.records import Scale, ScaleReading, Score
from micrographia.teach.claims import read_claims
from micrographia.teach.generate import current_course, teach
from micrographia.tune.card import CARD
from micrographia.workspace import RECIPE, open_workspace
from tests.evaluate.test_report import Page


@pytest.fixture
def prompts(monkeypatch):
    """Everything that any assistant is asked; it answers as ever."""
    asked = []
    answer = Assistant.answer

    def watch(self, images, questions, image_index=None):
        asked.extend(questions)
        return answer(self, images, questions, image_index)

    monkeypatch.setattr(Assistant, "answer", watch)
    return asked


@pytest.fixture(scope="module")
def evaluated(tuned, tmp_path_factory):
    """A workspace that has been evaluated, and what came of it; copy it to change it."""
    lab = tmp_path_factory.mktemp("evaluated") / "lab"
    shutil.copytree(tuned, lab)
    with open_workspace(lab) as workspace:
        made = evaluate(workspace)
        yield workspace, made


@pytest.fixture
def again(evaluated, tmp_path):
    """A copy of that workspace."""
    shutil.copytree(evaluated[0].folder, tmp_path / "again")
    with open_workspace(tmp_path / "again") as workspace:
        yield workspace


def change_recipe(lab, old, new):
    text = (lab / RECIPE).read_text(encoding="utf-8")
    assert old in text
    (lab / RECIPE).write_text(text.replace(old, new), encoding="utf-8")


def tell_train(catalog):
    """The lab settles that every image is for training."""
    told = [
        s.model_copy(update={"told": s.told.model_copy(update={"part": "train"})}) for s in catalog.sources()
    ]
    catalog.record(told)
    catalog.divide(0.2, 0.2, 0)


def test_scores_table_and_report_of_the_test_images(evaluated):
    workspace, made = evaluated
    assert made.report == workspace.folder / "reports" / "small" / "report.html"
    assert made.table == workspace.folder / "reports" / "small" / "scores.json"
    written = json.loads(made.table.read_text(encoding="utf-8"))
    assert tuple(Score.model_validate(row) for row in written["scores"]) == made.scores
    assert {s.system for s in made.scores} == {STUDENT, NEAREST, MAJORITY, BLIND, DIFFERENCE}
    parts = {part: workspace.catalog.micrographs(part) for part in ("train", "validation", "test")}
    top = {s.system: s for s in made.scores if (s.task, s.metric) == (CLASSIFICATION, "top-1")}
    assert top.keys() == {STUDENT, NEAREST, MAJORITY, BLIND}
    assert {s.n for s in top.values()} == {len(parts["test"])}
    assert {s.unscored for s in top.values()} == {0}
    page = made.report.read_text(encoding="utf-8")
    for part, micrographs in parts.items():
        assert {m.id in page for m in micrographs} == {part == "test"}
    for name in (STUDENT, NEAREST, MAJORITY, BLIND, FACTS):
        assert name in page


def test_only_test_images_are_asked_about(evaluated):
    workspace, _ = evaluated
    student = Assistant.load(workspace.student_folder())
    test = {m.id for m in workspace.catalog.micrographs("test")}
    answers = workspace.catalog.answers(student.identity)
    assert {answer.micrograph for answer in answers.values()} == test
    assert len(answers) == len(test) * (1 + 1 + 3)  # its class, a caption, and what the recipe says
    assert workspace.catalog.count()["answers"] == 2 * len(answers)  # seeing and blind
    ranked = [answer for answer in answers.values() if answer.ranking]
    assert {a.micrograph for a in ranked} == test and len(ranked) == len(test)
    assert all(sorted(name for name, _ in a.ranking) == sorted(student.card.classes) for a in ranked)


def test_a_second_run_asks_nothing_and_finds_the_same(evaluated, again, prompts):
    (again.folder / "reports" / "small" / "scores.json").unlink()
    made = evaluate(again)
    assert prompts == []
    assert made.scores == evaluated[1].scores
    assert made.table.is_file()


def test_what_was_scored_is_not_scored_again_and_an_older_table_is(evaluated, again, monkeypatch):
    scored = []
    score = module.scoring.scores
    monkeypatch.setattr(module.scoring, "scores", lambda *what: scored.append(1) or score(*what))
    report = again.folder / "reports" / "small" / "report.html"
    before = report.read_text(encoding="utf-8")
    assert evaluate(again).scores == evaluated[1].scores
    assert scored == [] and report.read_text(encoding="utf-8") == before
    change_recipe(again.folder, "questions_per_image: 3", "questions_per_image: 2")
    with open_workspace(again.folder) as fewer:
        assert evaluate(fewer).scores != evaluated[1].scores
    assert scored == [1]


def test_a_student_is_tested_also_where_there_is_nothing_to_tune_with(again):
    """A lab that only tests a student it was given: every image is told to be the test."""
    told = [
        s.model_copy(update={"told": s.told.model_copy(update={"part": "test"})})
        for s in again.catalog.sources()
    ]
    again.catalog.record(told)
    again.catalog.divide(0.2, 0.2, 0)
    student = again.folder / "students" / "small" / CARD
    student.write_text(json.dumps(json.loads(student.read_text("utf-8")) | {"seen": []}), "utf-8")
    tested = {s.n for s in evaluate(again).scores if (s.system, s.metric) == (STUDENT, "top-1")}
    assert tested == {len(again.catalog.micrographs())}


def test_the_report_shows_each_answer_beside_wordings_of_the_facts_on_record(evaluated):
    workspace, made = evaluated
    page = Page(made.report.read_text(encoding="utf-8"))
    answers = workspace.catalog.answers(Assistant.load(workspace.student_folder()).identity)
    shown = [(i["id"], e["prompt"], e["answer"]) for i in page.items for e in i["exchanges"]]
    assert sorted(shown) == sorted((a.micrograph, a.question, a.text) for a in answers.values())
    conversations = workspace.catalog.conversations(current_course(workspace), "test")
    facts = {(c.micrographs[0], c.prompt): facts_of(c) for c in conversations}
    compared = 0
    for item in page.items:
        for exchange in item["exchanges"]:
            record = facts[item["id"], exchange["prompt"]]
            wordings = exchange["references"]
            assert len(wordings) > 1 or exchange["task"] == "category"
            for wording in wordings:
                assert read_claims(wording, record.keys(), workspace.catalog.labels()) == record
                compared += len(record)
    assert compared > 50


def test_the_report_shows_what_was_measured_on_test_images_of_every_class(evaluated):
    workspace, made = evaluated
    page = Page(made.report.read_text(encoding="utf-8"))
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    names = [attributes["alt"].removesuffix(" with what was measured on it") for attributes in shown]
    test = workspace.catalog.micrographs("test")
    assert len(names) == min(6, len(test)) and {*names} <= {m.name for m in test}
    assert all(attributes["src"].startswith("data:image/png;base64,iVBOR") for attributes in shown)
    words = " ".join(" ".join(page.text).split())
    for label in {m.label for m in test}:
        assert f"{label} · scale: not known, lengths are in pixels" in words


def test_a_scale_that_is_told_later_is_shown(evaluated, again):
    """Nothing is scored otherwise, and the report is still written anew."""
    parts = again.catalog.parts()
    source = next(s for s in again.catalog.sources("taken") if parts[s.micrograph] == "test")
    scale = Scale.of((ScaleReading(source="table", pixel_size_nm=5.0),))
    told = source.told.model_copy(update={"scale": scale})
    again.catalog.record([source.model_copy(update={"told": told})])
    teach(again)
    words = "scale: single: 5 nm by table"
    assert words not in evaluated[1].report.read_text(encoding="utf-8")
    assert words in evaluate(again).report.read_text(encoding="utf-8")


def test_near_duplicates_are_one_group(evaluated, again):
    test = [m.id for m in again.catalog.micrographs("test")]
    again.catalog.set_clusters({id_: min(test[:3]) for id_ in test[:3]})
    groups = [
        {s.groups for s in made.scores if s.task == CLASSIFICATION and s.system == STUDENT}
        for made in (evaluated[1], evaluate(again))
    ]
    assert groups == [{len(test)}, {len(test) - 2}]


def test_a_fold_is_asked_about_its_own_test_images(lab):
    change_recipe(lab, "split: {", "split: {folds: 3, ")
    (lab / "students" / "small").rename(lab / "students" / "small-fold1")
    card = json.loads((lab / "students" / "small-fold1" / CARD).read_text("utf-8")) | {"seen": []}
    (lab / "students" / "small-fold1" / CARD).write_text(json.dumps(card), "utf-8")
    with open_workspace(lab) as workspace:
        workspace.catalog.divide_into_folds(3, 0.2, 0)
        made = evaluate(workspace, fold=1)
        test = {m.id for m in workspace.catalog.micrographs("test", fold=1)}
        assert test != {m.id for m in workspace.catalog.micrographs("test", fold=0)}
        identity = Assistant.load(lab / "students" / "small-fold1").identity
        assert {a.micrograph for a in workspace.catalog.answers(identity).values()} == test
    assert made.report == lab / "reports" / "small-fold1" / "report.html"


def test_without_a_student_there_is_nothing_to_evaluate(workspace, lab):
    shutil.rmtree(lab / "students" / "small")
    with pytest.raises(StudentError, match="there is no student in"):
        evaluate(workspace)
    assert not (lab / "reports").exists()


def test_a_student_is_not_tested_on_what_it_was_tuned_with(workspace, lab, prompts):
    """The images were divided anew, and the student is that of the division before."""
    workspace.catalog.divide_into_folds(3, 0.2, 0)
    parts = ({m.id for m in workspace.catalog.micrographs("test", fold)} for fold in range(3))
    seen = {*Assistant.load(lab / "students" / "small").card.seen}
    assert seen
    fold, known = next((k, len(test & seen)) for k, test in enumerate(parts) if test & seen)
    (lab / "students" / "small").rename(lab / "students" / f"small-fold{fold}")
    change_recipe(lab, "split: {", "split: {folds: 3, ")
    with (
        open_workspace(lab) as again,
        pytest.raises(StudentError, match=f"tuned with {known} of .*micrographia tune"),
    ):
        evaluate(again, fold)
    assert prompts == [] and not (lab / "reports").exists()


def test_without_a_test_part_there_is_nothing_to_ask(workspace, lab, prompts):
    tell_train(workspace.catalog)
    with pytest.raises(WorkspaceError, match="no image is in the test part"):
        evaluate(workspace)
    assert prompts == [] and not (lab / "reports").exists()


def test_a_course_that_was_not_taught_is_told(lab, prompts):
    change_recipe(lab, "category]}", "category], seed: 5}")
    with open_workspace(lab) as workspace, pytest.raises(WorkspaceError, match="micrographia teach"):
        evaluate(workspace)
    assert prompts == []
