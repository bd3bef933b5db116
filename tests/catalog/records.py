"""Micrographs, files and conversations made up for the tests of the catalogue."""

import hashlib

from micrographia.records import Conversation, Display, Micrograph, Source, Told, Turn


def identity(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def micrograph(number, **known):
    return Micrograph(
        id=identity(number),
        name=f"{number}.png",
        format="PNG",
        width=8,
        height=6,
        channels=1,
        bits=8,
        display=Display(black=0, white=255),
        **known,
    )


def taken(number, path=None, **told):
    """A file that holds micrograph ``number``."""
    return Source(
        path=path or f"lab/{number:05}.png",
        size_bytes=10,
        modified_ns=1,
        outcome="taken",
        micrograph=identity(number),
        told=Told(**told),
    )


def refused(path, reason="it ends early"):
    return Source(path=path, size_bytes=10, modified_ns=1, outcome="refused", reason=reason)


def conversation(number, about, task="vqa"):
    return Conversation(
        id=identity(f"conversation {number} {about}"),
        micrographs=(identity(about),),
        task=task,
        question_set="textures 1",
        question=f"q{number}",
        teacher="measured 1",
        turns=(Turn(role="user", text="What?"), Turn(role="assistant", text="That.")),
    )
