"""Files into the catalogue: every file is taken, refused or skipped, and recorded with the reason.

A file's bytes become an object before its record is committed, records are committed in small batches, and
clusters and parts are made last over everything: a run that was killed goes on where it stopped, and ends
like one that was not.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar, get_args

from micrographia import engine
from micrographia.catalog import Catalog, Objects
from micrographia.catalog.bonds import joined
from micrographia.engine import SILENT, Outcome, Progress, few_at_a_time
from micrographia.errors import NoImage, RecipeError, UnreadableFile
from micrographia.micrographs import acquisition
from micrographia.micrographs.conflicts import draw_conflicts
from micrographia.micrographs.display import to_display
from micrographia.micrographs.duplicates import close, fingerprint
from micrographia.micrographs.field import open_field
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.overlap import VERSION, landmarks, overlapping
from micrographia.micrographs.read import decode, is_image, load
from micrographia.micrographs.scale import reading_in_words
from micrographia.micrographs.sidecars import with_sidecars
from micrographia.micrographs.table import assign, names_files, read_table
from micrographia.micrographs.vendors import read_sidecar
from micrographia.micrographs.walk import Found, composed, find_files, readable
from micrographia.recipe import IngestSection
from micrographia.records import Instrument, Micrograph, Part, Scale, Source, Told
from micrographia.workspace import Workspace

Item = TypeVar("Item")
Result = TypeVar("Result")
ReadOutcome: TypeAlias = Outcome[Found, Micrograph | str]

FILES_PER_COMMIT = 32
NOT_AN_IMAGE = "not an image"
IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp", ".jp2"),
    *(".dm3", ".dm4", ".emd", ".ser", ".mrc", ".img", ".czi", ".nd2", ".lif", ".heic", ".avif"),
}
"""A file with one of these names was meant to be an image: not to read it is a refusal, not a skip."""


@dataclass(frozen=True)
class IngestSummary:
    """What one run met and did. ``refused`` are images that could not be read, with their reasons."""

    taken: int
    unchanged: int
    """Images that an earlier run took and that have not changed since."""
    refused: tuple[Source, ...]
    skipped: tuple[Source, ...]
    unread: tuple[str, ...]
    """Images taken whose header and print could not be read, by name with the reason: they have no scale."""
    scales: Mapping[str, int]
    """How many micrographs have a scale of each verdict."""
    scale_conflicts: tuple[str, ...]
    """Images whose readings of the scale differ, by name with the readings: no length is told of them."""
    conflict_pictures: Path | None
    """The folder in which each of them is drawn with its readings; None where there is no picture."""
    conflicts_not_drawn: tuple[str, ...]
    """Those of which there is no picture, with the reason."""
    micrographs: int
    """Different images in the catalogue now; files with the same bytes are one."""
    copies: int
    """Files with the bytes of another file."""
    without_label: int
    """Micrographs whose class is not known."""
    gone: int
    """Files that an earlier run met and that are not there any more."""
    look_alikes: int
    """How many of them show what another shows: near duplicates, and fields that overlap."""
    parts: tuple[Mapping[str, int], ...]
    """Images of each part, one mapping a fold."""
    most_groups: int
    """Groups of images that are never parted, in the class that has most."""
    label_conflicts: tuple[str, ...] = ()
    """Names of images whose label was dropped because their files differ on it."""
    moved: tuple[str, ...] = ()
    """Names of images that left the part they were in, to stay with a look-alike or their group; and why."""
    rows_without_file: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    """Paths of files among the images that look like a table of labels, where none was ever given."""
    unknown_columns: tuple[str, ...] = ()


def ingest(
    workspace: Workspace,
    paths: Sequence[Path],
    table: Path | None = None,
    limits: Limits | None = None,
    progress: Progress = SILENT,
) -> IngestSummary:
    """Take every image at or below ``paths``; labels come from folders, then from the table.

    Files met before and not changed since are not read again, but take what folders, table and group
    pattern say now; what an earlier table told holds until another comes. What could not be read is tried
    again, and what is not there any more no longer counts. Raises ``RecipeError`` before any work where a
    path or a cell of the table is wrong.
    """
    _require_other_than(workspace, paths)
    rows = read_table(table) if table else None
    left_out = [workspace.folder, *([table] if table else [])]
    found, sidecars = with_sidecars(find_files(paths, left_out))
    known = {source.path: source for source in workspace.catalog.sources()}
    from_table, rows_without_file = assign(rows, found) if rows else (_earlier_rows(known), ())
    section = workspace.recipe.ingest
    told = {f.text: _told(f, from_table.get(f.text), section, sidecars.get(f.text, ())) for f in found}
    unchanged = [file for file in found if _is_unchanged(file, known.get(file.text), workspace.objects)]
    gone = _gone(known, found, paths, left_out)
    workspace.catalog.record(gone)  # first, so that a file in its new folder is not at odds with the old one
    _record_told(workspace.catalog, [known[file.text] for file in unchanged], told)

    there = {file.text for file in unchanged}
    new = [file for file in found if file.text not in there]
    progress.begin("reading files", len(new), "files")
    read = list(_read_all(workspace, new, told, limits or Limits(), progress))
    progress.end()
    moved, unread = arrange(workspace, progress)
    pictures = draw_conflicts(workspace, progress)
    now = workspace.catalog.micrographs()
    sources = workspace.catalog.sources()
    met = [source for source in sources if source.path in told]
    return IngestSummary(
        taken=sum(source.outcome == "taken" for source in read),
        unchanged=sum(known[file.text].outcome == "taken" for file in unchanged),
        refused=tuple(s for s in met if s.outcome == "refused"),
        skipped=tuple(s for s in met if s.outcome == "skipped"),
        unread=unread,
        scales=Counter(m.scale.verdict for m in now),
        scale_conflicts=tuple(_conflict(m) for m in now if m.scale.verdict == "conflict"),
        conflict_pictures=pictures.folder,
        conflicts_not_drawn=pictures.not_drawn,
        micrographs=len(now),
        copies=sum(s.outcome == "taken" for s in sources) - len(now),
        without_label=sum(m.label is None for m in now),
        gone=len(gone),
        look_alikes=len(workspace.catalog.clusters()),
        parts=tuple(_sizes(workspace.catalog, fold) for fold in range(workspace.catalog.folds())),
        most_groups=_most_groups(workspace.catalog, now),
        label_conflicts=tuple(m.name for m in now if any(n.startswith("label dropped") for n in m.notes)),
        moved=tuple(f"{m.name} ({moved[m.id]})" for m in now if m.id in moved),
        rows_without_file=rows_without_file,
        tables=() if from_table else _tables(met),
        unknown_columns=rows.unknown_columns if rows else (),
    )


def _sizes(catalog: Catalog, fold: int) -> dict[str, int]:
    counts = catalog.count_parts(fold)
    return {part: counts.get(part, Counter()).total() for part in get_args(Part)}


def _most_groups(catalog: Catalog, micrographs: Sequence[Micrograph]) -> int:
    group_of = catalog.groups()
    pairs = {(m.label, group_of[m.id]) for m in micrographs}
    return max(Counter(label for label, _ in pairs).values(), default=0)


def _tables(sources: Sequence[Source]) -> tuple[str, ...]:
    passed_over = (source.path for source in sources if source.reason == NOT_AN_IMAGE)
    return tuple(path for path in passed_over if names_files(Path(path)))


def _conflict(micrograph: Micrograph) -> str:
    """Its name and what each reading gives."""
    return f"{micrograph.name}: {', '.join(map(reading_in_words, micrograph.scale.readings))}"


def _require_other_than(workspace: Workspace, paths: Sequence[Path]) -> None:
    for path in paths:
        if path.resolve() == workspace.folder.resolve():
            raise RecipeError(
                f"{path} is the workspace itself, which is never searched for images",
                "keep images in a folder of their own",
            )


@dataclass(frozen=True)
class _Word:
    """What is said of one file, the row of the table in it, and its instrument's texts beside it."""

    told: Told
    row: Told | None
    sidecars: tuple[bytes, ...] = ()

    def of(self, rows: int, columns: int) -> Told:
        """What is said of an image of so many pixels: by people, and by the texts beside it."""
        texts = [read_sidecar(text, rows, columns) for text in self.sidecars]
        readings = self.told.scale.readings + tuple(r for text in texts for r in text.readings)
        return self.told.model_copy(
            update={
                "scale": Scale.of(readings),
                "instrument": Instrument.first_known([self.told.instrument, *(t.instrument for t in texts)]),
                "missing": tuple(line for text in texts for line in text.missing),
            }
        )


def _earlier_rows(known: Mapping[str, Source]) -> dict[str, Told]:
    return {path: source.row for path, source in known.items() if source.row}


def _told(file: Found, row: Told | None, recipe: IngestSection, sidecars: tuple[bytes, ...]) -> _Word:
    """By table, then by folder and group pattern."""
    name = composed(readable(file.path.name))
    match = re.search(recipe.group_pattern, name) if recipe.group_pattern else None
    told = row or Told()
    group = told.group or (match.group(1) if match else None)
    update = {"label": told.label or file.folder, "group": group or None}
    return _Word(told.model_copy(update=update), row, sidecars)


def _is_unchanged(file: Found, source: Source | None, objects: Objects) -> bool:
    """Whether what is known of a file still holds. What hindered reading may have changed outside of it."""
    if source is None or (source.size_bytes, source.modified_ns) != (file.size_bytes, file.modified_ns):
        return False
    if source.micrograph is None:
        return source.outcome == "skipped"
    return source.micrograph in objects


def _gone(
    known: Mapping[str, Source], found: Sequence[Found], paths: Sequence[Path], left_out: Sequence[Path]
) -> list[Source]:
    """The sources below ``paths`` whose files were met and are not there any more.

    Nothing is said of what is left out, or lies below a folder that could not be listed.
    """
    there = {file.text for file in found}
    roots = [readable(path.resolve()) for path in paths]
    closed = [*(file.text for file in found if file.fault), *(readable(path.resolve()) for path in left_out)]
    return [
        source.model_copy(
            update={"outcome": "gone", "reason": "the file is not there any more", "micrograph": None}
        )
        for source in known.values()
        if source.outcome != "gone"
        and source.path not in there
        and _is_at_or_below(source.path, roots)
        and not _is_at_or_below(source.path, closed)
    ]


def _is_at_or_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(place.rstrip(os.sep) + os.sep) for place in places)


def _record_told(catalog: Catalog, sources: Sequence[Source], words: Mapping[str, _Word]) -> None:
    sizes = {m.id: (m.height, m.width) for m in catalog.micrographs()}
    now = [
        s.model_copy(
            update={
                "told": words[s.path].of(*sizes.get(s.micrograph or "", (0, 0))),
                "row": words[s.path].row,
            }
        )
        for s in sources
    ]
    changed = (new for new, old in zip(now, sources, strict=True) if new != old)
    for batch in few_at_a_time(changed, FILES_PER_COMMIT):
        catalog.record(batch)


def _read_all(
    workspace: Workspace,
    files: Sequence[Found],
    words: Mapping[str, _Word],
    limits: Limits,
    progress: Progress,
) -> Iterator[Source]:
    """Read, keep and record; what is yielded has been committed."""
    read = partial(read_file, objects=workspace.objects, limits=limits)
    outcomes = engine.apply(read, files, _workers(workspace, files))
    for batch in few_at_a_time(_watched(outcomes, progress), FILES_PER_COMMIT):
        sources = [_source(outcome, words[outcome.item.text]) for outcome in batch]
        workspace.catalog.record(sources, [o.result for o in batch if isinstance(o.result, Micrograph)])
        yield from sources


def _workers(workspace: Workspace, items: Sequence[object]) -> int:
    """Starting processes takes seconds; a few files are read sooner in this one."""
    return workspace.workers if len(items) > FILES_PER_COMMIT else 1


def _watched(
    outcomes: Iterable[Outcome[Item, Result]], progress: Progress
) -> Iterator[Outcome[Item, Result]]:
    for outcome in outcomes:
        yield outcome
        progress.advance()


def read_file(file: Found, objects: Objects, limits: Limits) -> Micrograph | str:
    """The record of one image, its bytes kept in ``objects``; or why the file is not an image.

    Raises ``UnreadableFile`` for what was meant to be an image and cannot be read.
    """
    if file.excuse:
        return file.excuse
    if file.fault:
        raise UnreadableFile(f"{readable(file.path.name)}: {file.fault}", "check link and permissions")
    if not is_image(file.path) and file.path.suffix.lower() not in IMAGE_SUFFIXES:
        return NOT_AN_IMAGE
    data = load(file.path, limits)
    name = readable(file.path.name)
    try:
        raster = decode(data, limits, name)
    except NoImage as excuse:
        return excuse.what
    display, how = to_display(raster.pixels)
    rows, columns = display.shape[:2]
    return Micrograph(
        id=objects.put(data),
        name=name,
        format=raster.header.format,
        width=columns,
        height=rows,
        channels=raster.header.channels,
        bits=raster.header.bits,
        sample=raster.header.sample,
        pages=raster.header.pages,
        display=how,
        fingerprint=fingerprint(display),
        notes=raster.notes,
    )


def _source(outcome: ReadOutcome, word: _Word) -> Source:
    file, result = outcome.item, outcome.result
    taken = result if isinstance(result, Micrograph) else None
    return Source(
        path=file.text,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        outcome="taken" if taken else "refused" if outcome.reason else "skipped",
        reason=None if taken else outcome.reason or str(result),
        micrograph=taken.id if taken else None,
        told=word.of(taken.height, taken.width) if taken else word.told,
        row=word.row,
    )


class Arranged(NamedTuple):
    """What the end of an ingest has to say of single images."""

    moved: Mapping[str, str]
    """By id, those that had to go to another part than they were told, and why."""
    unread: tuple[str, ...]
    """Those whose header and print could not be read, by name with the reason: they have no scale."""


def arrange(workspace: Workspace, progress: Progress = SILENT) -> Arranged:
    """Headers and print, clusters of look-alikes over all images, then parts of the split.

    The end of every ingest. Done twice it changes nothing, so it also ends an ingest that was stopped.
    """
    catalog, split = workspace.catalog, workspace.recipe.split
    unread = tuple(_read_acquisitions(workspace, progress))
    _find_landmarks(workspace, progress)
    progress.begin("looking for look-alikes", 1, "pass")
    catalog.set_clusters(_look_alikes(catalog) if split.bind_look_alikes else {})
    progress.advance()
    progress.end()
    if split.folds:
        catalog.divide_into_folds(split.folds, split.validation, split.seed)
        return Arranged({}, unread)
    return Arranged(catalog.divide(split.test, split.validation, split.seed), unread)


def _read_acquisitions(workspace: Workspace, progress: Progress) -> list[str]:
    """Headers, databars and scale bars: a stage of its own, by what is missing, as that of landmarks.

    What cannot be read is returned by name with the reason, and is tried again with the next ingest.
    """
    unread = []
    catalog = workspace.catalog
    missing = catalog.without_acquisition(acquisition.VERSION)
    progress.begin("reading headers and scale bars", len(missing), "images")
    read = partial(acquisition.acquisition_of, workspace.objects)
    outcomes = engine.apply(read, missing, _workers(workspace, missing))
    for batch in few_at_a_time(_watched(outcomes, progress), FILES_PER_COMMIT):
        catalog.record_acquisitions(
            acquisition.VERSION, {o.item.id: o.result for o in batch if o.result is not None}
        )
        unread += [f"{o.item.name}: {o.reason}" for o in batch if o.result is None]
    progress.end()
    return unread


def _find_landmarks(workspace: Workspace, progress: Progress) -> None:
    """A stage of its own, by what is missing: a kill loses nothing, and a new version finds them all anew."""
    catalog = workspace.catalog
    missing = catalog.without_landmarks(VERSION)
    progress.begin("finding landmarks", len(missing), "images")
    find = partial(landmarks_of, workspace.objects)
    outcomes = engine.apply(find, missing, _workers(workspace, missing))
    for batch in few_at_a_time(_watched(outcomes, progress), FILES_PER_COMMIT):
        catalog.record_landmarks(VERSION, {o.item.id: o.result for o in batch if o.result is not None})
    progress.end()


def landmarks_of(objects: Objects, micrograph: Micrograph) -> bytes:
    """The landmarks of one catalogued image."""
    return landmarks(open_field(objects, micrograph))


def _look_alikes(catalog: Catalog) -> dict[str, str]:
    """The cluster of each image that shows what another shows, whole (near duplicate) or in part."""
    near = close({m.id: m.fingerprint for m in catalog.micrographs()})
    return joined(chain(near, overlapping(catalog.landmarks(VERSION))))
