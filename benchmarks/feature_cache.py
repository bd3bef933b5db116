"""Ten epochs of a student with a frozen vision tower: features looked up, features worked out again, and TRL.

    pip install 'micrographia[baselines]'
    python -m benchmarks.feature_cache [--json] [--images 48] [--epochs 10]

A tower of the shape of CLIP ViT-B/32 (88 M parameters) and a small language model, both with random weights,
on drawn micrographs, one question an image; 16 images a step; plain LoRA of rank 16 on the language model.

``seconds_cached``: MAEMI with features looked at once and kept, the looking included. ``seconds_recomputed``:
the same, the tower run at every step. ``seconds_llava_cached``: the LLaVA shape, cached. ``seconds_trl``:
``trl.SFTTrainer`` on the LLaVA shape. All without evaluation, on one view of each image.
``speedup_vs_recompute`` and ``speedup_vs_trl`` (LLaVA against LLaVA) are quotients of these.
``loss_difference``: between the last training losses of cached and recomputed.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaProcessor,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from benchmarks import command
from micrographia import phantoms
from micrographia.adapt.methods import adapted
from micrographia.engine import SILENT
from micrographia.recipe import LowRankSection, TuneSection
from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.prompts import MAEMIProcessor, in_colour, with_places
from micrographia.students.tokens import train_tokenizer
from micrographia.tune.collate import Text, Texts
from micrographia.tune.features import PixelSight, Sight, look
from micrographia.tune.language import small_language_model
from micrographia.tune.order import Order
from micrographia.tune.samples import SightedBatches

SIDE, BATCH, RATE = 224, 16, 1e-3
LORA = LowRankSection(method="lora", rank=16, lowest_rank=1)
RECIPE = TuneSection(views=1, texts_per_image=1, batch=BATCH)
QUESTION = "What kind of structure does the micrograph show?"
TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{{ '<EOS>' if message.role == 'assistant' else '<Encode>' }}{% endfor %}"
)


def tower() -> CLIPVisionModel:
    """ViT-B/32 at 224 px, random weights."""
    return CLIPVisionModel(CLIPVisionConfig(hidden_size=768, intermediate_size=3072, patch_size=32))


def drawn(count: int) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Images and what they show."""
    kinds = [phantoms.CATEGORIES[row % len(phantoms.CATEGORIES)] for row in range(count)]
    images = [phantoms.draw(kind, seed=row, size=(SIDE, SIDE)).image for row, kind in enumerate(kinds)]
    return images, [f"The micrograph shows {kind.lower()}, and nothing else." for kind in kinds]


class Lab:
    """Images, texts, and the parts that every student is joined from."""

    def __init__(self, count: int) -> None:
        torch.manual_seed(0)
        self.images, self.answers = drawn(count)
        self.image_processor = CLIPImageProcessorPil()
        self.tokenizer = with_places(train_tokenizer([QUESTION, *self.answers], 600))
        self.tower = tower().eval()
        self.language_model = small_language_model(self.tokenizer, 512)
        shown = [in_colour(image) for image in self.images]
        self.pixels = np.asarray(self.image_processor(shown, return_tensors="np")["pixel_values"], np.float16)

    def texts(self, processor: MAEMIProcessor) -> list[Texts]:
        """One text an image."""
        question = processor.question(QUESTION)
        return [{"vqa": [Text("vqa", question, (processor.answer(told),))]} for told in self.answers]

    def maemi(self) -> tuple[Any, MAEMIProcessor, bool]:
        """Student, processor, and whether an image's texts share a row."""
        processor = MAEMIProcessor(self.image_processor, self.tokenizer)
        model = MAEMIForConditionalGeneration.of(
            copy.deepcopy(self.language_model),
            copy.deepcopy(self.tower),
            image_token_id=processor.image_token_id,
            cross_attention_every=1,
            cross_attention_heads=4,
            cross_attention_key_size=32,
            feed_forward_factor=2,
        )
        return model, processor, False

    def llava(self) -> tuple[Any, MAEMIProcessor, bool]:
        """The same of the LLaVA shape."""
        image_token_id = self.tokenizer.convert_tokens_to_ids("<image>")
        model = SightedLlava.of(copy.deepcopy(self.language_model), copy.deepcopy(self.tower), image_token_id)
        with torch.no_grad():
            places = model.look(torch.zeros(1, 3, SIDE, SIDE)).shape[1]
        return model, MAEMIProcessor(self.image_processor, self.tokenizer, places), True


def arguments(folder: Path, epochs: int) -> dict[str, Any]:
    """What every trainer is told alike."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "seed": 0,
    }


def ours(
    lab: Lab, join: Callable[[], tuple[Any, MAEMIProcessor, bool]], cached: bool, epochs: int
) -> tuple[float, float]:
    """Seconds of the whole training, looking included, and its last loss."""
    torch.manual_seed(0)
    model, processor, together = join()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        sight: Sight = PixelSight(lab.pixels)
        if cached:
            rows = range(len(lab.images))
            sight = look(model.eval(), lab.pixels, rows, Path(folder) / "features", SILENT, RECIPE.views)
        batches = SightedBatches(sight, lab.texts(processor), RECIPE, processor, together)
        trainer = Trainer(
            model=adapted(model, LORA, seed=0),
            args=TrainingArguments(
                **arguments(Path(folder), 1), train_sampling_strategy="sequential", label_names=["labels"]
            ),
            train_dataset=Order(range(len(lab.images)), epochs, seed=0),
            data_collator=batches,
        )
        trainer.remove_callback(PrinterCallback)  # stdout is for the figures
        trainer.train()
        return time.perf_counter() - begin, _last_loss(trainer)


def trl(lab: Lab, epochs: int) -> tuple[float, float]:
    """The same by ``SFTTrainer``, with the processor of LLaVA."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    model, _, _ = lab.llava()
    tokenizer = copy.deepcopy(lab.tokenizer)
    tokenizer.split_special_tokens = False  # the template writes signs as text
    processor = LlavaProcessor(
        image_processor=lab.image_processor,
        tokenizer=tokenizer,
        patch_size=model.config.vision_config.patch_size,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    told = [
        [*asked, {"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in lab.answers
    ]
    pictures = [[Image.fromarray(in_colour(image))] for image in lab.images]
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                **arguments(Path(folder), epochs), gradient_checkpointing=False, bf16=False, max_length=None
            ),
            train_dataset=Dataset.from_dict({"images": pictures, "messages": told}),
            processing_class=processor,
            peft_config=LoraConfig(r=16, lora_alpha=16, target_modules=r".*language_model.*_proj"),
        )
        trainer.remove_callback(PrinterCallback)
        begin = time.perf_counter()
        trainer.train()
        return time.perf_counter() - begin, _last_loss(trainer)


def _last_loss(trainer: Trainer) -> float:
    return float([entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1])


def figures(count: int, epochs: int) -> dict[str, float]:
    """Every training, one after the other."""
    lab = Lab(count)
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        "cached": lambda: ours(lab, lab.maemi, True, epochs),
        "recomputed": lambda: ours(lab, lab.maemi, False, epochs),
        "llava_cached": lambda: ours(lab, lab.llava, True, epochs),
        "trl": lambda: trl(lab, epochs),
    }
    seconds, losses = {}, {}
    for name, run in runs.items():
        seconds[name], losses[name] = run()
        print(f"{name}: {seconds[name]:.1f} s, last loss {losses[name]:.4f}", file=sys.stderr)
    return {
        "speedup_vs_recompute": round(seconds["recomputed"] / seconds["cached"], 3),
        "speedup_vs_trl": round(seconds["trl"] / seconds["llava_cached"], 3),
        **{f"seconds_{name}": round(value, 2) for name, value in seconds.items()},
        "loss_difference": abs(losses["cached"] - losses["recomputed"]),
        "images": count,
        "epochs": epochs,
        "views": RECIPE.views,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """The command line."""
    parser: argparse.ArgumentParser = command.parser(__doc__)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    command.show(figures(options.images, options.epochs), options.json)


if __name__ == "__main__":
    main()
