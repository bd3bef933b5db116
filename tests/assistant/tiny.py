"""A student without tuning: with random weights it says nonsense, but says it as a tuned one does."""

import numpy as np
import torch

from micrographia.students.processor import MVaEMaImageProcessor, MVaEMaProcessor
from micrographia.students.tokens import train_tokenizer
from micrographia.tune.card import CARD, Card
from tests.students.tiny import SIDE, tiny_student

QUESTIONS = [
    "What does this image show?",
    "How rough is the surface? Answer briefly.",
    "Is it bright?",
    "Name the class of this image. Answer briefly.",
    "Which way do the fibres run, and how many are there in a field of 40 µm?",
]
ANSWERS = ["Fibres.", "Round particles on a dark ground.", "It is bright.", "About 12 in 40 µm.", "Tips."]


def card(**changes):
    content = {
        "fingerprint": "0" * 64,
        "classes": ("Fibres", "Particles", "Tips"),
        "class_texts": ("nm", "px", "keV"),  # of one token each, so that none is hopeless from the start
        "category_question": QUESTIONS[3],
        "caption_question": QUESTIONS[0],
        "questions": (("How rough is the surface?", "Is the surface rough?"), ("Is it bright?",)),
        "recipe": "",
        "plan": "",
        "images": 1,
        "seen": (),
    }
    return Card(**{**content, **changes})


def write_student(folder, seed=0):
    tokenizer = train_tokenizer(QUESTIONS + ANSWERS, 700)
    student = tiny_student(seed, vocab_size=len(tokenizer), max_position_embeddings=96)
    with torch.no_grad():
        student.text.norm.weight.mul_(0.2)  # the same words, but less sure of them
    student.save_pretrained(folder)
    MVaEMaProcessor(MVaEMaImageProcessor(SIDE, 1), tokenizer).save_pretrained(folder)
    (folder / CARD).write_text(card().model_dump_json(), encoding="utf-8")
    return folder


def images(count, seed=0):
    """Noise of different coarseness and exposure, and of different shapes; every fourth in colour."""
    draw = np.random.default_rng(seed)
    made = []
    for i in range(count):
        cell = 2 ** (i % 4)
        shape = (96 // cell, (96 + 32 * (i % 3)) // cell, *((3,) if i % 4 == 3 else ()))
        grey = draw.normal(60 + 20 * (i % 7), 10 + 8 * (i % 5), shape).clip(0, 255).astype(np.uint8)
        made.append(grey.repeat(cell, 0).repeat(cell, 1))
    return made
