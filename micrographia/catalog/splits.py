"""Division into train, validation and test: by group, stratified by class, the same for the same seed.

Images that share a group or a cluster of look-alikes are bound together, and what is bound is never parted.
A division only grows: an image keeps its part when others are added later.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from micrographia.catalog.bonds import joined

PRECEDENCE = ("train", "validation", "test")
"""Where a group goes whose images are in several parts: an image taken out of the test flatters nothing."""


@dataclass(frozen=True)
class Bound:
    """One image and everything that binds it to others."""

    id: str
    label: str | None = None
    bonds: tuple[str, ...] = ()
    """Names of its groups and of its cluster of look-alikes."""
    part: str | None = None
    """Where it was before, or where the lab says it belongs."""
    barred: str | None = None
    """A part that it must not get."""


@dataclass(frozen=True)
class Division:
    """Who is where, and who had to be moved to keep a group whole."""

    parts: dict[str, str]
    moved: dict[str, str]
    """For each image that is not where it was told to be: the reason."""


def divide(images: Iterable[Bound], test: float, validation: float, seed: int) -> Division:
    """Train, validation and test; ``validation`` is a share of what is not test.

    With ``test`` 0 no image is put into the test that was not told to be there.
    """
    rest = 1 - test
    # Where all parts want an image equally the first named takes it, so a class of two has a test image.
    shares = {"train": rest * (1 - validation), "test": test, "validation": rest * validation}
    return _assign(images, shares, seed)


def divide_into_folds(images: Sequence[Bound], folds: int, validation: float, seed: int) -> list[Division]:
    """One division a fold; every image is in the test part of exactly one of them.

    Earlier or told parts are not used: each fold is a division of its own.
    """
    free = [Bound(image.id, image.label, image.bonds) for image in images]
    fold_of = _assign(free, {str(k): 1 / folds for k in range(folds)}, seed).parts
    divisions = []
    for k in range(folds):
        rest = [image for image in free if fold_of[image.id] != str(k)]
        inner = _assign(rest, {"train": 1 - validation, "validation": validation}, seed)
        tested = {image.id: "test" for image in free if fold_of[image.id] == str(k)}
        divisions.append(Division(inner.parts | tested, {}))
    return divisions


def groups(images: Iterable[Bound]) -> dict[str, str]:
    """For each image the id of the first of all that it is bound to, at one or more removes."""
    return {image.id: bound[0].id for bound in _bind(images) for image in bound}


def _assign(images: Iterable[Bound], shares: Mapping[str, float], seed: int) -> Division:
    """Whole groups to parts: those with a part keep it, the others go where most is missing."""
    groups = _bind(images)
    shares = {part: share for part, share in shares.items() if share}
    totals = Counter(image.label for group in groups for image in group)
    wanted = {part: {label: n * share for label, n in totals.items()} for part, share in shares.items()}
    given: dict[str, Counter[str | None]] = {part: Counter() for part in {*shares, *PRECEDENCE}}
    division = Division({}, {})

    def place(group: Sequence[Bound], part: str) -> None:
        for image in group:
            division.parts[image.id] = part
            given[part][image.label] += 1
            if image.part not in (None, part):
                division.moved[image.id] = f"from {image.part} to {part}, where an image bound to it is"

    def need(group: Sequence[Bound], part: str) -> float:
        return sum(1 - given[part][i.label] / wanted[part][i.label] for i in group)

    random.Random(seed).shuffle(groups)
    undecided = []
    for group in groups:
        told = {image.part for image in group if image.part} - _barred(group)
        if told:
            place(group, next(part for part in PRECEDENCE if part in told))
        else:
            undecided.append(group)
    for group in sorted(undecided, key=lambda group: (bool(_barred(group)), len(group)), reverse=True):
        open_parts = [part for part in shares if part not in _barred(group)]
        place(group, max(open_parts, key=lambda part: need(group, part)))
    return division


def _barred(group: Sequence[Bound]) -> set[str | None]:
    return {image.barred for image in group if image.barred}


def _bind(images: Iterable[Bound]) -> list[list[Bound]]:
    """Connected components of the images, where shared bonds are edges; ordered by id."""
    ordered = sorted(images, key=lambda image: image.id)
    component = joined((f"image {image.id}", f"bond {bond}") for image in ordered for bond in image.bonds)
    components: dict[str, list[Bound]] = defaultdict(list)
    for image in ordered:
        name = f"image {image.id}"
        components[component.get(name, name)].append(image)
    return list(components.values())
