"""Examples are shown before the question, as in tuning; what comes of it is compared with showing none."""

import json

import numpy as np
import pytest
import torch

from micrographia.assistant import Assistant
from micrographia.assistant.voice import Example
from micrographia.errors import StudentError
from micrographia.evaluate.few_shot import SHOWN, identity_of, pool_of
from micrographia.evaluate.run import EXAMPLES, evaluate
from micrographia.micrographs.display import open_display
from micrographia.students.prompts import IMAGE
from micrographia.tune.train import tune
from micrographia.workspace import open_workspace
from tests.tune.test_sighted import lab_with, section


@pytest.fixture(scope="module", params=["maemi", "llava"])
def sighted(request, tuned, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "lab"
    lab = lab_with(tuned, folder, section(request.param) + "evaluate: {questions_per_image: 1}\n")
    with open_workspace(lab) as workspace:
        tune(workspace)
    return lab


def test_a_ranking_with_examples_is_the_likelihood_of_each_class_after_them(sighted):
    with open_workspace(sighted) as workspace:
        assistant = Assistant.load(workspace.student_folder())
        shown = [open_display(workspace.objects, m) for m in workspace.catalog.micrographs("train")[:2]]
        asked = open_display(workspace.objects, workspace.catalog.micrographs("test")[0])
    names = assistant.card.classes[:2]
    examples = [Example(image, label) for image, label in zip(shown, names, strict=True)]
    ranking = dict(assistant.classify([asked], [examples])[0])

    processor, card = assistant.processor, assistant.card
    words = dict(zip(card.classes, card.class_texts, strict=True))
    ids = [*processor.opening]
    for label in names:
        ids += [*processor.turn([IMAGE, card.category_question]), *processor.answer(words[label])]
    ids += processor.turn([IMAGE, card.category_question])
    seen = assistant.voice.prepare(shown)
    by_hand = np.zeros(len(card.classes))
    for turns in range(4):
        for mirrored in (False, True):
            view = np.rot90(np.fliplr(asked) if mirrored else asked, turns)
            pixels = torch.cat([seen, assistant.voice.prepare([np.ascontiguousarray(view)])])
            likelihoods = []
            for name in card.classes:
                answer = processor.answer(words[name])
                whole = torch.tensor([ids + answer])
                with torch.no_grad():
                    told = assistant.model(input_ids=whole, pixel_values=pixels).logits.log_softmax(-1)
                likelihoods.append(
                    sum(float(told[0, len(ids) - 1 + k, token]) for k, token in enumerate(answer))
                )
            by_hand += np.exp(likelihoods) / np.exp(likelihoods).sum() / 8
    assert [ranking[name] for name in card.classes] == pytest.approx(by_hand.tolist(), abs=2e-3)


def test_the_table_has_both_ways_and_their_difference_and_what_was_shown_is_recorded(sighted):
    with open_workspace(sighted) as workspace:
        scores = evaluate(workspace).scores
        again = evaluate(workspace).scores
        part = workspace.catalog.parts(0)
        examples = json.loads((workspace.report_folder() / EXAMPLES).read_text())
        count = Assistant.load(workspace.student_folder()).card.demonstrations
    assert again == scores
    told = {(s.system, s.metric): s for s in scores if s.task == "classification"}
    difference = told[f"{SHOWN} minus student", "top-1"]
    assert difference.value == pytest.approx(told[SHOWN, "top-1"].value - told["student", "top-1"].value)
    assert difference.low <= difference.value <= difference.high
    assert not [s for s in scores if s.system == SHOWN and s.task != "classification"]
    assert {part[image] for image in examples} == {"test"}
    assert all(
        part[other] == "train" and len(others) == count for others in examples.values() for other in others
    )


def test_only_images_of_its_tuning_and_of_its_classes_are_shown(sighted):
    with open_workspace(sighted) as workspace:
        training = workspace.catalog.micrographs("train")
        assistant = Assistant.load(workspace.student_folder())
    assert pool_of(assistant, training) == list(range(len(training)))
    first, second, *others = training
    now = [first.model_copy(update={"label": "A new class"}), second, *others]
    assistant.card = assistant.card.model_copy(
        update={"seen": tuple(one for one in assistant.card.seen if one != second.id)}
    )
    assert pool_of(assistant, now) == list(range(2, len(training)))


def test_answers_are_kept_by_the_pool_and_its_labels(sighted):
    with open_workspace(sighted) as workspace:
        training = workspace.catalog.micrographs("train")
        assistant = Assistant.load(workspace.student_folder())
    other = next(label for label in assistant.card.classes if label != training[0].label)
    moved = [training[0].model_copy(update={"label": other}), *training[1:]]
    kept = {identity_of(assistant, pool) for pool in (training, training[1:], moved)}
    assert len(kept) == 3
    assert identity_of(assistant, training[::-1]) in kept


def test_an_example_of_a_class_that_it_does_not_know_is_named(sighted):
    with open_workspace(sighted) as workspace:
        assistant = Assistant.load(workspace.student_folder())
    image = np.zeros((64, 64), np.uint8)
    with pytest.raises(StudentError, match="has the label 'A new class', and the student was"):
        assistant.classify([image], [[Example(image, "A new class")]])


def test_a_student_that_was_not_taught_with_examples_says_so(workspace):
    assistant = Assistant.load(workspace.student_folder())
    image = np.zeros((64, 64), np.uint8)
    with pytest.raises(StudentError, match="not taught to be shown examples"):
        assistant.classify([image], [[Example(image, assistant.card.classes[0])]])
