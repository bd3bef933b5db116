"""The question sets that ship are whole, and a wrong one is refused by field."""

import pytest

from micrographia.errors import RecipeError
from micrographia.records import Conversation, Turn
from micrographia.teach.questions import asked, load, parse, shipped

ASPECTS = {
    "Basics",
    "Morphology and Structure",
    "Size and Distribution",
    "Surface Characteristics",
    "Composition and Elements",
    "Interactions and Boundaries",
    "External Environment",
    "Image Technique and Modifications",
    "Functional Features",
    "Context and Application",
}

FRAMES = """
plain:
  short: ["{clause}."]
  long: ["{clause}.", "{clause}, with {noun}."]
"""

QUESTIONS = """
task: vqa
fits: [anything]
frames: plain
questions:
  - id: contrast
    ask: ["How strong is it?", "Is it strong?", "Is it weak?"]
    short: [contrast]
    long: [contrast, relief]
"""


def test_the_sets_are_there():
    assert shipped() == ("caption", "category", "nanomaterials", "sizes", "surfaces", "textures")


@pytest.mark.parametrize("name", shipped())
def test_every_set_says_what_it_fits_and_asks_in_several_ways(name):
    questions = load(name)
    assert questions.fits
    assert questions.version.startswith(f"{name}@")
    for question in questions.questions:
        assert len(set(question.ask)) >= 3
        assert all(phrasing[-1] in "?." for phrasing in question.ask)


def test_nanomaterials_ask_two_or_three_questions_of_each_of_ten_aspects():
    counts = dict.fromkeys(ASPECTS, 0)
    for question in load("nanomaterials").questions:
        counts[question.aspect] += 1
    assert all(2 <= n <= 4 for n in counts.values()), counts


def test_the_hash_covers_questions_and_frames():
    versions = {
        parse(QUESTIONS, FRAMES, "x").sha256,
        parse(QUESTIONS.replace("Is it weak", "Is it faint"), FRAMES, "x").sha256,
        parse(QUESTIONS, FRAMES.replace("with", "and"), "x").sha256,
    }
    assert len(versions) == 3


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("[contrast]", "[colour]", "questions.0.short: colour: no such subject"),
        (', "Is it weak?"', "", "questions.0.ask"),
        ("id: contrast", "id: The Contrast", "questions.0.id"),
        ("frames: plain", "frames: fancy", "frames is 'fancy'"),
        ("task: vqa", "task: quiz", "task"),
        ("[contrast, relief]", "[contrast, relief, lines]", "no long frame has that many slots"),
        ("fits: [anything]", "suits: [anything]", "suits"),
        ("task: vqa", "task: [", "not YAML"),
    ],
)
def test_a_wrong_set_is_refused_by_its_field(right, wrong, named):
    with pytest.raises(RecipeError, match="question set mine") as refused:
        parse(QUESTIONS.replace(right, wrong), FRAMES, "mine")
    assert named in str(refused.value)


def test_a_frame_without_a_slot_is_refused():
    with pytest.raises(RecipeError, match=r"frames\.short"):
        parse(QUESTIONS, FRAMES.replace('short: ["{clause}."]', 'short: ["{contrast}."]'), "mine")


def test_a_repeated_id_is_refused():
    twice = QUESTIONS + QUESTIONS[QUESTIONS.index("  - id") :]
    with pytest.raises(RecipeError, match="contrast: the id is there twice"):
        parse(twice, FRAMES, "mine")


def test_a_set_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(RecipeError, match="nanomaterials"):
        load("../../etc/passwd")


def test_the_question_of_a_conversation_is_found_again_unless_the_set_changed():
    questions = load("surfaces")
    conversation = Conversation(
        id="0" * 64,
        micrographs=("0" * 64,),
        task="vqa",
        question_set=questions.version,
        question="pits",
        teacher="measured",
        turns=(Turn(role="user", text="?"), Turn(role="assistant", text="!")),
    )
    assert asked(conversation) == (questions, questions.question("pits"))
    with pytest.raises(RecipeError, match="teach again: micrographia teach"):
        asked(conversation.model_copy(update={"question_set": "surfaces@000000000000"}))
