import torch

from micrographia.engine import SILENT
from micrographia.students.losses import IGNORED
from micrographia.students.tokens import train_tokenizer
from micrographia.tune.language import (
    LanguageStage,
    Passage,
    language_order,
    learn_language,
    padded,
    small_language_model,
)
from micrographia.tune.precision import Precision

WHAT, HOW = ("particles", "fibres"), ("small", "bright", "round")
SENTENCES = [f"The {what} are {how}." for what in WHAT for how in HOW]
SINGLE = Precision(False, "tests")


def passages(tokenizer):
    ids = [tokenizer(text)["input_ids"] for text in SENTENCES]
    return [Passage((*one, tokenizer.eos_token_id)) for one in ids]


def test_what_is_given_is_read_and_not_learned():
    batch = padded([Passage((5, 6, 7), given=2), Passage((8, 9))])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7], [8, 9, IGNORED]]


def test_texts_are_read_in_whole_passes_and_some_are_kept():
    order = language_order(41, LanguageStage(steps=10, batch=8))
    assert set(order.images) == set(range(41)) - {0, 20, 40}
    assert order.epochs == 3  # 80 texts are more than two passes over 38
    assert language_order(1, LanguageStage(steps=1)).images == [0]


def test_it_learns_to_say_what_the_texts_say(tmp_path):
    tokenizer = train_tokenizer(SENTENCES * 3, 500)
    torch.manual_seed(0)
    model = small_language_model(tokenizer, 64, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    curve = learn_language(
        model, passages(tokenizer) * 4, LanguageStage(steps=120, batch=8), tmp_path, SINGLE, SILENT
    )
    losses = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    asked = tokenizer("The", return_tensors="pt", return_token_type_ids=False)
    said = model.eval().generate(**asked, max_new_tokens=12, do_sample=False, num_beams=1)
    assert tokenizer.decode(said[0], skip_special_tokens=True) in SENTENCES


def test_stopped_and_gone_on_it_is_the_same(tmp_path):
    tokenizer = train_tokenizer(SENTENCES * 3, 500)

    def run(folder, callbacks=()):
        torch.manual_seed(0)
        model = small_language_model(tokenizer, 64, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
        stage = LanguageStage(steps=12, batch=8)
        learn_language(model, passages(tokenizer) * 4, stage, folder, SINGLE, SILENT, callbacks)
        return model.state_dict()

    whole = run(tmp_path / "whole")
    from tests.tune.test_fit import KillAt, Killed

    try:
        run(tmp_path / "killed", [KillAt(7)])
    except Killed:
        pass
    else:
        raise AssertionError("it was not killed")
    again = run(tmp_path / "killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
