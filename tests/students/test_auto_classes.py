import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.processor import MVaEMaImageProcessor, MVaEMaProcessor
from micrographia.students.tokens import train_tokenizer

from .tiny import SIDE, tiny_config

LOADED = "print('loaded', json.dumps([m for m in ('torch', 'transformers') if m in sys.modules]))"
AUTO = "from transformers import AutoModelForImageTextToText, AutoProcessor"
ASK = """
from PIL import Image
folder = sys.argv[1]
processor = AutoProcessor.from_pretrained(folder)
student = AutoModelForImageTextToText.from_pretrained(folder)
made = processor(images=Image.open(folder + "/image.png"), text="What is it?")
said = processor.said(student.generate(**made, max_new_tokens=6), made["input_ids"])
print("said", json.dumps([type(processor).__name__, type(student).__name__, *said]))
"""
ORDERS = {
    "micrographia first": f"import micrographia\n{LOADED}\n{AUTO}\n{ASK}",
    "Auto classes first": f"{AUTO}\nimport micrographia\n{ASK}",
    "a model first": f"from transformers import PreTrainedModel\nimport micrographia\n{AUTO}\n{ASK}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student on disk, an image beside it, and what it says of the image."""
    folder = tmp_path_factory.mktemp("student")
    tokenizer = train_tokenizer(["What is it?", "Round particles."], 500)
    student = MVaEMaForConditionalGeneration(tiny_config(len(tokenizer))).eval()
    processor = MVaEMaProcessor(MVaEMaImageProcessor(SIDE, 1), tokenizer)
    student.save_pretrained(folder)
    processor.save_pretrained(folder)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90)).astype(np.uint8))
    image.save(folder / "image.png")
    made = processor(images=image, text="What is it?")
    said = processor.said(student.generate(**made, max_new_tokens=6), made["input_ids"])
    return folder, said


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{program}", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(
        line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("said", "loaded"))
    )


@pytest.mark.parametrize("order", ORDERS)
def test_auto_classes_know_the_student(folder, order):
    out = run(ORDERS[order], folder[0])
    assert json.loads(out["said"]) == ["MVaEMaProcessor", "MVaEMaForConditionalGeneration", *folder[1]]
    assert out.get("loaded", "[]") == "[]"


def test_configuration_alone(folder):
    program = """
import micrographia
from transformers import AutoConfig
print("said", json.dumps(type(AutoConfig.from_pretrained(sys.argv[1])).__name__))
"""
    assert json.loads(run(program, folder[0])["said"]) == "MVaEMaConfig"


def test_no_code_lies_in_the_folder(folder):
    assert not list(folder[0].glob("*.py"))
    assert not any("auto_map" in file.read_text() for file in folder[0].glob("*.json"))


def test_pipeline(folder):
    from transformers import pipeline

    answer = pipeline("image-text-to-text", model=str(folder[0]))
    image = Image.open(folder[0] / "image.png")
    out = answer(image, text="What is it?", max_new_tokens=6, return_full_text=False)
    assert [item["generated_text"] for item in out] == folder[1]
