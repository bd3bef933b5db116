"""What two processes do in test_distributed: ``accelerate launch -m tests.tune.launched FOLDER [CURVE]``."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted
from micrographia.recipe import LowRankSection
from micrographia.students.chat_template import Exchange
from micrographia.students.prompts import IMAGE
from micrographia.tune.fit import Stage, fit
from micrographia.tune.language import Passage, PassageBatches
from micrographia.tune.order import Order, Plain
from micrographia.tune.precision import Precision
from micrographia.tune.processes import is_first
from tests.students.hub_models import MODELS, chats
from tests.tune.small import Counting

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
PASSAGES = [Passage(tuple(range(3 + i, 12 + 3 * i)), given=1 + i % 3) for i in range(18)]
"""No two are as long as each other: the processes' shares hold different numbers of tokens."""
TRAINED, STEPS = 16, 8


class Killed(BaseException):
    """Not an Exception, so that nothing in between can handle it."""


class Watched(TrainerCallback):
    """Remembers how many weights are cut up, and kills at a step."""

    def __init__(self, kill_at=None):
        self.kill_at = kill_at
        self.sharded = 0

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self.sharded = sum(isinstance(parameter, DTensor) for parameter in model.parameters())
        if state.global_step == self.kill_at:
            raise Killed


class Chats:
    """An image with a question and an answer each, none as long as another, as a model of the hub takes
    them."""

    def __init__(self, kind, rows_at_once=None):
        self.processor = chats(kind)
        self.rows_at_once = rows_at_once

    def __call__(self, draws):
        size = self.rows_at_once or len(draws)
        parts = [self.batch(draws[start : start + size]) for start in range(0, len(draws), size)]
        if len(parts) == 1:
            return parts[0]
        whole = torch.cat([part["labels"].flatten() for part in parts])[None]
        return {"input_ids": whole, "labels": whole, "parts": parts}

    def batch(self, draws):
        images = np.random.default_rng(0).integers(0, 255, (len(PASSAGES), 32, 32), dtype=np.uint8)
        told = [[Exchange([IMAGE, "What is shown?"], "Fibres." + " Pores." * d.image)] for d in draws]
        return dict(self.processor.to_learn(told, [[images[draw.image]] for draw in draws]))


def language_model():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=96, num_key_value_heads=2, **SIZES))
    return model, PassageBatches(PASSAGES)


def model_of_the_hub(kind, *rows_at_once):
    model = MODELS[kind]().requires_grad_(False)
    without_logits(model)
    return adapted(model, LowRankSection(method="lora", dropout=0), seed=0), Chats(kind, *rows_at_once)


def learn(folder, watched, *of_the_hub):
    """The curve of eight steps on four rows each, by however many processes; None where it was killed.

    Of a language model, or ``of_the_hub``: its kind, and how many rows at once.
    """
    model, batches = model_of_the_hub(*of_the_hub) if of_the_hub else language_model()
    order, plain = Order(range(TRAINED), 2, seed=3), Plain(range(TRAINED, len(PASSAGES)))
    common = (batches, Path(folder), Precision(False, "tests"), Counting(), [watched])
    try:
        return fit(Stage("learning", TRAINED * 2 // STEPS, 0.02), model, order, plain, *common)
    except Killed:
        return None


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    through, killed = Watched(), Watched(kill_at=6)
    ways = {
        "through": (folder / "through", through),
        "killed": (folder / "killed by two", killed),
        "resumed": (folder / "killed by one", Watched()),
        **{kind: (folder / f"{kind} by two", Watched(), kind) for kind in MODELS},
    }
    curves = {name: learn(*ways[name]) for name in sys.argv[2:] or ways}
    if is_first():
        (folder / "told.json").write_text(json.dumps({**curves, "sharded": through.sharded}))
