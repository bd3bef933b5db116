"""The catalogue: what has been ingested, measured, taught and answered, and what is still missing.

Every method that writes is one transaction, and writing the same thing twice changes nothing: a stage that
was killed asks again for what is missing and goes on.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from sqlalchemy import Connection, Exists, Select, and_, delete, exists, func, select, update

from micrographia.catalog import tables
from micrographia.catalog.connect import connect, insert_new, insert_or_replace
from micrographia.catalog.merge import with_sources
from micrographia.catalog.splits import Bound, Division, divide, divide_into_folds, groups
from micrographia.records import Acquisition, Answer, Conversation, Measurement, Micrograph, Source

Value = TypeVar("Value")

IDS_PER_QUERY = 500
"""Databases bound the number of parameters of one statement."""

UNTAUGHT = ("group", "notes", "missing")
"""What is known of a micrograph and no lesson speaks of."""

_micrographs = tables.micrographs.c
_sources = tables.sources.c
_HAS_A_SOURCE = exists().where(_sources.micrograph == _micrographs.id)
"""A micrograph whose every file has since been replaced is kept, but no stage sees it."""


class Catalog:
    """One database. Open it with its SQLAlchemy URL; the schema is brought up to date."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    # Files and micrographs

    def sources(self, outcome: str | None = None) -> list[Source]:
        """Every file that was met, by path; or only those with one outcome."""
        query = select(_sources.record).order_by(_sources.path)
        if outcome:
            query = query.where(_sources.outcome == outcome)
        return [Source.model_validate_json(row) for row in self._column(query)]

    def record(self, sources: Sequence[Source], micrographs: Sequence[Micrograph] = ()) -> None:
        """Keep what became of some files. ``micrographs`` are as read from the files alone."""
        with self._engine.begin() as connection:
            read = [
                {"id": m.id, "label": m.label, "as_read": m.model_dump_json(), "record": m.model_dump_json()}
                for m in micrographs
            ]
            insert_new(connection, tables.micrographs, read)
            before = _micrographs_of(connection, [source.path for source in sources])
            insert_or_replace(connection, tables.sources, [_source_row(source) for source in sources])
            _merge(connection, before | {s.micrograph for s in sources if s.micrograph})

    def micrographs(self, part: str | None = None, fold: int = 0) -> list[Micrograph]:
        """All micrographs by id, or those of one part of a fold."""
        query = select(_micrographs.record).where(_HAS_A_SOURCE).order_by(_micrographs.id)
        if part:
            query = query.join(tables.parts).where(tables.parts.c.fold == fold, tables.parts.c.part == part)
        return [Micrograph.model_validate_json(row) for row in self._column(query)]

    def micrograph(self, identity: str) -> Micrograph | None:
        """The micrograph of this id; None where there is none."""
        rows = self._column(select(_micrographs.record).where(_HAS_A_SOURCE, _micrographs.id == identity))
        return next((Micrograph.model_validate_json(row) for row in rows), None)

    def labels(self) -> list[str]:
        """The class vocabulary: every label in the data, sorted."""
        query = select(_micrographs.label).where(_HAS_A_SOURCE, _micrographs.label.is_not(None)).distinct()
        return sorted(self._column(query))

    def clusters(self) -> dict[str, str]:
        """The cluster of look-alikes of each micrograph that is in one."""
        query = select(_micrographs.id, _micrographs.cluster).where(_micrographs.cluster.is_not(None))
        with self._engine.connect() as connection:
            return {row.id: row.cluster for row in connection.execute(query)}

    def groups(self) -> dict[str, str]:
        """One name for all images that specimens and look-alikes bind together, by image.

        They are not independent of each other, and a split never parts them.
        """
        return groups(self._bound())

    def set_clusters(self, clusters: Mapping[str, str]) -> None:
        """Replace all clusters of look-alikes."""
        with self._engine.begin() as connection:
            connection.execute(update(tables.micrographs).values(cluster=None))
            for identity, cluster in clusters.items():
                row = update(tables.micrographs).where(_micrographs.id == identity)
                connection.execute(row.values(cluster=cluster))

    def without_acquisition(self, version: str) -> list[Micrograph]:
        """Micrographs whose header and print this version has not read, by id."""
        table = tables.acquisitions.c
        return self._lacking(exists().where(table.micrograph == _micrographs.id, table.version == version))

    def acquisition(self, identity: str) -> Acquisition:
        """What one micrograph's header and print tell; an empty record where they were not read."""
        with self._engine.connect() as connection:
            return _acquisition(connection, identity)

    def record_acquisitions(self, version: str, acquisitions: Mapping[str, Acquisition]) -> None:
        """Keep what some micrographs tell of how they were taken; what an earlier version read goes."""
        rows = [
            {"micrograph": identity, "version": version, "record": acquisition.model_dump_json()}
            for identity, acquisition in acquisitions.items()
        ]
        with self._engine.begin() as connection:
            insert_or_replace(connection, tables.acquisitions, rows)
            _merge(connection, acquisitions)

    def without_landmarks(self, version: str) -> list[Micrograph]:
        """Micrographs that have no landmarks of this version, by id."""
        table = tables.landmarks.c
        return self._lacking(exists().where(table.micrograph == _micrographs.id, table.version == version))

    def record_landmarks(self, version: str, packed: Mapping[str, bytes]) -> None:
        """Keep the landmarks of some micrographs."""
        rows = [{"micrograph": id_, "version": version, "packed": marks} for id_, marks in packed.items()]
        with self._engine.begin() as connection:
            insert_new(connection, tables.landmarks, rows)

    def landmarks(self, version: str) -> dict[str, bytes]:
        """Landmarks of this version by micrograph."""
        table = tables.landmarks.c
        query = select(table.micrograph, table.packed).join(tables.micrographs)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(table.version == version, _HAS_A_SOURCE))
            return {row.micrograph: row.packed for row in rows}

    # Parts

    def divide(self, test: float, validation: float, seed: int) -> dict[str, str]:
        """Give every micrograph without one a part; who had to be moved, and why.

        With other shares or another seed than before all parts are drawn anew. A part told by the lab comes
        before the one it had. Where the lab tells which images are the test, no others are drawn for it;
        where it tells none for validation, some of its train are drawn.
        """
        told = {source.told.part for source in self.sources("taken")}
        drawn_as = json.dumps({"test": test, "validation": validation, "seed": seed})
        before = self.parts() if self._drawn_as() == [drawn_as] else {}
        division = divide(self._bound(before), 0 if "test" in told else test, validation, seed)
        self._write_parts({0: division}, drawn_as)
        return division.moved

    def divide_into_folds(self, folds: int, validation: float, seed: int) -> None:
        """Replace the division by one of so many folds, numbered from 0."""
        divisions = divide_into_folds(self._bound(), folds, validation, seed)
        drawn_as = json.dumps({"folds": folds, "validation": validation, "seed": seed})
        self._write_parts(dict(enumerate(divisions)), drawn_as)

    def parts(self, fold: int = 0) -> dict[str, str]:
        """Part of each micrograph in a fold."""
        query = select(tables.parts.c.micrograph, tables.parts.c.part).where(tables.parts.c.fold == fold)
        with self._engine.connect() as connection:
            return {row.micrograph: row.part for row in connection.execute(query)}

    def folds(self) -> int:
        """How many divisions there are; 0 before the first."""
        return len(self._column(select(tables.parts.c.fold).distinct()))

    # Measurements

    def unmeasured(self, version: str) -> list[Micrograph]:
        """Micrographs that have no measurements of this version, by id."""
        done = and_(
            tables.measurements.c.micrograph == _micrographs.id, tables.measurements.c.version == version
        )
        return self._lacking(exists().where(done))

    def record_measurements(self, version: str, measured: Mapping[str, Sequence[Measurement]]) -> None:
        """Keep the measurements of some micrographs."""
        rows = [
            {"micrograph": identity, "version": version, "record": _dump(measurements)}
            for identity, measurements in measured.items()
        ]
        with self._engine.begin() as connection:
            insert_new(connection, tables.measurements, rows)

    def measurements(self, version: str) -> dict[str, tuple[Measurement, ...]]:
        """Measurements of this version by micrograph."""
        table = tables.measurements.c
        query = select(table.micrograph, table.record).where(table.version == version)
        with self._engine.connect() as connection:
            rows = connection.execute(query)
            return {
                row.micrograph: tuple(Measurement.model_validate(m) for m in json.loads(row.record))
                for row in rows
            }

    # Conversations

    def untaught(self, course: str) -> list[Micrograph]:
        """Micrographs that have not been through this course (teacher, question sets, seed), by id."""
        done = and_(tables.lessons.c.micrograph == _micrographs.id, tables.lessons.c.course == course)
        return self._lacking(exists().where(done))

    def record_lessons(self, course: str, lessons: Mapping[str, Sequence[Conversation]]) -> None:
        """Keep all conversations of some micrographs, which ends their teaching in this course."""
        conversations = [
            {
                "id": c.id,
                "micrograph": c.micrographs[0],
                "course": course,
                "task": c.task,
                "record": c.model_dump_json(),
            }
            for lesson in lessons.values()
            for c in lesson
        ]
        with self._engine.begin() as connection:
            insert_new(connection, tables.conversations, conversations)
            done = [{"micrograph": identity, "course": course} for identity in lessons]
            insert_new(connection, tables.lessons, done)

    def conversations(
        self, course: str, part: str | None = None, fold: int = 0, task: str | None = None
    ) -> Iterator[Conversation]:
        """Conversations of a course by micrograph and id; of one part, of one task."""
        table = tables.conversations.c
        query = (
            select(table.record)
            .join(tables.micrographs, _micrographs.id == table.micrograph)
            .where(table.course == course, _HAS_A_SOURCE)
            .order_by(table.micrograph, table.id)
        )
        if part:
            here = and_(tables.parts.c.micrograph == table.micrograph, tables.parts.c.fold == fold)
            query = query.join(tables.parts, here).where(tables.parts.c.part == part)
        if task:
            query = query.where(table.task == task)
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=1000).scalars(query):
                yield Conversation.model_validate_json(row)

    # Answers

    def answers(self, student: str) -> dict[str, Answer]:
        """What this student has answered so far, by conversation."""
        query = select(tables.answers.c.conversation, tables.answers.c.record)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(tables.answers.c.student == student))
            return {row.conversation: Answer.model_validate_json(row.record) for row in rows}

    def record_answers(self, student: str, answers: Mapping[str, Answer]) -> None:
        """Keep what this student answered in some conversations."""
        rows = [
            {"student": student, "conversation": conversation, "record": answer.model_dump_json()}
            for conversation, answer in answers.items()
        ]
        with self._engine.begin() as connection:
            insert_new(connection, tables.answers, rows)

    # For the summary

    def count(self) -> dict[str, int]:
        """How many there are of each kind of record, and of files by outcome."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_sources.outcome, func.count()).group_by(_sources.outcome))
            outcomes = {f"files {outcome}": n for outcome, n in rows}
            kinds = {
                table.name: connection.scalar(select(func.count()).select_from(table)) or 0
                for table in (tables.micrographs, tables.measurements, tables.conversations, tables.answers)
            }
        return outcomes | kinds

    def count_parts(self, fold: int = 0) -> dict[str, Counter[str]]:
        """Images of each class in each part of a fold."""
        query = (
            select(tables.parts.c.part, _micrographs.label, func.count())
            .join(tables.micrographs, _micrographs.id == tables.parts.c.micrograph)
            .where(tables.parts.c.fold == fold, _HAS_A_SOURCE)
            .group_by(tables.parts.c.part, _micrographs.label)
        )
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        with self._engine.connect() as connection:
            for part, label, n in connection.execute(query):
                counts[part][label or ""] = n
        return dict(counts)

    def _column(self, query: Select[tuple[Value]]) -> list[Value]:
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def _lacking(self, done: Exists) -> list[Micrograph]:
        query = select(_micrographs.record).where(_HAS_A_SOURCE, ~done).order_by(_micrographs.id)
        return [Micrograph.model_validate_json(row) for row in self._column(query)]

    def _drawn_as(self) -> list[str]:
        """What the parts of each fold were drawn with."""
        return self._column(select(tables.divisions.c.drawn_as).order_by(tables.divisions.c.fold))

    def _bound(self, parts: Mapping[str, str] = MappingProxyType({})) -> list[Bound]:
        told: dict[str, list[Source]] = defaultdict(list)
        for source in self.sources("taken"):
            told[source.micrograph or ""].append(source)
        no_validation = not any(s.told.part == "validation" for sources in told.values() for s in sources)
        clusters = self.clusters()
        bound = []
        for m in self.micrographs():
            part = next((s.told.part for s in told[m.id] if s.told.part), None)
            to_draw_from = no_validation and part == "train"
            before = parts.get(m.id)
            bound.append(
                Bound(
                    id=m.id,
                    label=m.label,
                    bonds=_bonds(told[m.id], clusters.get(m.id)),
                    part=(None if before == "test" else before) if to_draw_from else part or before,
                    barred="test" if to_draw_from else None,
                )
            )
        return bound

    def _write_parts(self, divisions: Mapping[int, Division], drawn_as: str) -> None:
        rows = [
            {"fold": fold, "micrograph": identity, "part": part}
            for fold, division in divisions.items()
            for identity, part in division.parts.items()
        ]
        with self._engine.begin() as connection:
            for table in (tables.parts, tables.divisions):
                connection.execute(delete(table).where(table.c.fold.not_in(list(divisions))))
            insert_or_replace(connection, tables.parts, rows)
            drawn = [{"fold": fold, "drawn_as": drawn_as} for fold in divisions]
            insert_or_replace(connection, tables.divisions, drawn)


def _bonds(sources: Iterable[Source], cluster: str | None) -> tuple[str, ...]:
    groups = sorted({f"group {s.told.group}" for s in sources if s.told.group})
    return (*groups, *([f"cluster {cluster}"] if cluster else []))


def _dump(measurements: Sequence[Measurement]) -> str:
    return json.dumps([m.model_dump(mode="json") for m in measurements], ensure_ascii=False)


def _source_row(source: Source) -> dict[str, object]:
    row: dict[str, object] = source.model_dump(
        include={"path", "size_bytes", "modified_ns", "outcome", "micrograph"}
    )
    return row | {"record": source.model_dump_json()}


def _micrographs_of(connection: Connection, paths: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for i in range(0, len(paths), IDS_PER_QUERY):
        here = _sources.path.in_(paths[i : i + IDS_PER_QUERY])
        query = select(_sources.micrograph).where(here, _sources.micrograph.is_not(None))
        found.update(connection.scalars(query))
    return found


def _merge(connection: Connection, identities: Iterable[str]) -> None:
    """Bring the record of each micrograph up to what its sources tell now; who is another is taught anew.

    Where the field is another, what was measured on it goes. One without a source stays as it is, unseen,
    until its file is back.
    """
    for identity in sorted(identities):
        this = _micrographs.id == identity
        row = connection.execute(select(_micrographs.as_read, _micrographs.record).where(this)).one()
        told = select(_sources.record).where(_sources.micrograph == identity).order_by(_sources.path)
        sources = [Source.model_validate_json(source) for source in connection.scalars(told)]
        if not sources:
            continue
        before = Micrograph.model_validate_json(row.record)
        acquisition = _acquisition(connection, identity)
        merged = with_sources(Micrograph.model_validate_json(row.as_read), acquisition, sources)
        changed = update(tables.micrographs).where(this)
        connection.execute(changed.values(label=merged.label, record=merged.model_dump_json()))
        if before.model_copy(update={name: getattr(merged, name) for name in UNTAUGHT}) != merged:
            _forget_lessons(connection, identity)
        if (before.field, before.burnt_in) != (merged.field, merged.burnt_in):
            for table in (tables.measurements, tables.landmarks):
                connection.execute(delete(table).where(table.c.micrograph == identity))


def _acquisition(connection: Connection, identity: str) -> Acquisition:
    table = tables.acquisitions.c
    record = connection.scalar(select(table.record).where(table.micrograph == identity))
    return Acquisition() if record is None else Acquisition.model_validate_json(record)


def _forget_lessons(connection: Connection, identity: str) -> None:
    of_this = select(tables.conversations.c.id).where(tables.conversations.c.micrograph == identity)
    connection.execute(delete(tables.answers).where(tables.answers.c.conversation.in_(of_this)))
    for table in (tables.conversations, tables.lessons):
        connection.execute(delete(table).where(table.c.micrograph == identity))
