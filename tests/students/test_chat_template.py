import pytest

from micrographia.errors import StudentError
from micrographia.students.chat_template import Exchange, Template, messages
from micrographia.students.prompts import IMAGE
from tests.students.hub_models import LLAVA_TEMPLATE, QWEN_TEMPLATE, llava_processor, qwen_processor

CLOSE = "{{- '<|im_end|>\\n' }}\n    {%- endif %}"

LOOP = "{%- for message in messages %}"
FORGETS = "{%- if message.role == 'assistant' and not loop.last %}{%- continue %}{%- endif %}"


def test_the_continuation_is_found_by_rendering():
    qwen, llava = Template(qwen_processor()), Template(llava_processor())
    assert (qwen.lead, qwen.end) == ("", "<|im_end|>")
    assert (llava.lead, llava.end) == (" ", "</s>")


def test_a_chat_is_turns_and_the_last_answer_is_left_out_of_a_prompt():
    chat = [Exchange([IMAGE, "What?"], "Fibres"), Exchange(["Which", IMAGE], "Pores")]
    told = messages(chat, answered=False)
    assert [turn["role"] for turn in told] == ["user", "assistant", "user"]
    assert told[0]["content"] == [{"type": "image"}, {"type": "text", "text": "What?"}]
    assert messages(chat, answered=True)[:-1] == told


def test_texts_that_touch_are_one():
    (turn,) = messages([Exchange(["a", "b", IMAGE, "c"])], answered=False)
    assert [block.get("text") for block in turn["content"]] == ["a b", None, "c"]


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (None, "no chat template"),
        (QWEN_TEMPLATE.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant: '"), "not continue"),
        (QWEN_TEMPLATE.replace(LOOP, LOOP + FORGETS), "rewrites earlier turns"),
        (QWEN_TEMPLATE.replace(CLOSE, "{{- '\\n### End\\n' }}\n    {%- endif %}"), "no sign"),
        (QWEN_TEMPLATE.replace("for message in messages", "for message in nothing.at_all"), "cannot write"),
        ("{{ raise_exception('one turn only') }}", "cannot write"),
    ],
)
def test_a_template_that_cannot_be_tuned_with_is_refused(template, fault):
    with pytest.raises(StudentError, match=fault):
        Template(qwen_processor(template))


def test_a_template_that_joins_what_an_image_stood_between_is_refused():
    joining = LLAVA_TEMPLATE.replace("content['text'] + ' '", "content['text']")
    with pytest.raises(StudentError, match="joins texts"):
        Template(llava_processor(joining))
