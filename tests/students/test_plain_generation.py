import pytest
from transformers import GenerationConfig

from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.plain_generation import plain
from tests.students.languages import BEGIN, END, IMAGE_ID, PAD, language_model
from tests.students.test_llava import tower

HABITS = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.05}
ENDS = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD, "max_new_tokens": 7}


def test_of_a_model_s_settings_only_where_a_text_begins_and_ends_is_kept():
    told = plain(GenerationConfig(**HABITS, **ENDS), eos_token_id=5)
    assert told.to_dict() == GenerationConfig(**{**ENDS, "eos_token_id": 5}).to_dict()


@pytest.mark.parametrize("student", [MAEMIForConditionalGeneration, SightedLlava])
def test_a_student_has_none_of_the_habits_of_its_language_model(student):
    speaker = language_model()
    speaker.generation_config = GenerationConfig(**HABITS, **ENDS)
    model = student.of(speaker, tower("ours"), image_token_id=IMAGE_ID)
    assert model.generation_config.to_dict() == GenerationConfig(**ENDS).to_dict()
    assert speaker.generation_config.repetition_penalty == 1.05
