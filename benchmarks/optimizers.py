"""How far the eye comes in so many steps with Muon and with AdamW (Loshchilov 2019), on drawn micrographs.

    python -m benchmarks.optimizers [--json] [--steps 300] [--images-per-class 30]

The class of ten categories, unseen drawings for validation, equal batches in an equal order, the same warm-up
and cosine. AdamW is given three rates, and with the best of them also twice and four times the steps. Keys:
``loss_muon_STEPS`` and ``loss_adamw_RATE_STEPS``, the validation loss at the end, and ``right_...``, the
share of right classes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from transformers import get_cosine_schedule_with_warmup

from benchmarks import command
from micrographia import phantoms
from micrographia.students.configuration import VisionConfig
from micrographia.students.vision import LabelledVision
from micrographia.tune.fit import OTHERS_RATE, WARM_UP
from micrographia.tune.labels import LabelBatches, LabelSets
from micrographia.tune.muon import Muon
from micrographia.tune.order import Order, Plain

SIDE, BATCH = 128, 16
MUON_RATE, ADAMW_RATES = 0.02, (1e-3, 3e-3, 1e-2)
VALIDATION = 5
"""One in so many drawings is kept to validate with."""


@dataclass(frozen=True)
class Drawn:
    """Batches, and the rows of either part."""

    batches: LabelBatches
    training: list[int]
    validation: list[int]


def draw(images_per_class: int) -> Drawn:
    """Micrographs of all categories."""
    names = list(phantoms.CATEGORIES)
    images = [
        phantoms.draw(name, seed, (SIDE, SIDE)).image for name in names for seed in range(images_per_class)
    ]
    pixels = (np.stack(images)[:, None] / 127.5 - 1).astype(np.float16)
    table = np.repeat(np.arange(len(names)), images_per_class)[:, None]
    batches = LabelBatches(
        pixels, LabelSets({"class": names}, table, {}, np.empty((len(pixels), 0), np.float32))
    )
    rows = range(len(pixels))
    return Drawn(batches, [i for i in rows if i % VALIDATION], [i for i in rows if i % VALIDATION == 0])


def see(drawn: Drawn, rows: list[int]) -> dict[str, torch.Tensor]:
    """Images as they are, in one batch."""
    plain = Plain(rows)
    return drawn.batches([plain[i] for i in range(len(plain))])


def train(drawn: Drawn, steps: int, adamw_rate: float | None) -> tuple[float, float]:
    """Validation loss and share of right classes after so many steps; no rate means Muon."""
    torch.manual_seed(0)
    model = LabelledVision(VisionConfig(labels=drawn.batches.sets.values))
    model.encoder.settle([see(drawn, drawn.training)["pixel_values"]])
    optimizer: torch.optim.Optimizer
    if adamw_rate is None:
        optimizer = Muon(model, OTHERS_RATE * MUON_RATE, MUON_RATE)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), adamw_rate, betas=(0.9, 0.99), weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARM_UP * steps), steps)
    order = Order(drawn.training, 1 + steps * BATCH // len(drawn.training), seed=0)
    for step in range(steps):
        optimizer.zero_grad()
        batch = drawn.batches([order[i] for i in range(step * BATCH, (step + 1) * BATCH)])
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        batch = see(drawn, drawn.validation)
        seen = model.eval()(**batch)
    right = (seen.logits["class"].argmax(1) == batch["labels"][:, 0]).float().mean()
    return float(seen.loss), float(right)


def figures(steps: int, images_per_class: int) -> dict[str, float]:
    """All runs in one flat object."""
    drawn = draw(images_per_class)
    made: dict[str, float] = {"images": len(drawn.batches.pixels), "validation": len(drawn.validation)}

    def run(name: str, run_steps: int, rate: float | None) -> float:
        loss, right = train(drawn, run_steps, rate)
        print(f"{name}, {run_steps} steps: loss {loss:.3f}, {right:.3f} right", file=sys.stderr)
        made.update(
            {f"loss_{name}_{run_steps}": round(loss, 4), f"right_{name}_{run_steps}": round(right, 4)}
        )
        return loss

    run("muon", steps, None)
    best = min(ADAMW_RATES, key=lambda rate: run(f"adamw_{rate}", steps, rate))
    for longer in (2, 4):
        run(f"adamw_{best}", longer * steps, best)
    return made


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--steps", type=int, default=300, help="steps of Muon, and of the shortest AdamW")
    parser.add_argument("--images-per-class", type=int, default=30, help="drawings of each category")
    options = parser.parse_args()
    made = figures(options.steps, options.images_per_class)
    command.show(made, options.json)


if __name__ == "__main__":
    main()
