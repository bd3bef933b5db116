"""The tables. Columns are what is searched for; the rest of a record is its JSON."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

micrographs = Table(
    "micrographs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("label", Text, index=True),
    Column("cluster", String(64), comment="smallest id among its near duplicates"),
    Column("as_read", Text, nullable=False, comment="the Micrograph from the file alone"),
    Column("record", Text, nullable=False, comment="the Micrograph with what its sources tell"),
)

sources = Table(
    "sources",
    metadata,
    Column("path", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False, index=True),
    Column("micrograph", String(64), ForeignKey("micrographs.id"), index=True),
    Column("record", Text, nullable=False),
)

parts = Table(
    "parts",
    metadata,
    Column("fold", Integer, primary_key=True),
    Column("micrograph", String(64), ForeignKey("micrographs.id"), primary_key=True),
    Column("part", String(16), nullable=False),
)

divisions = Table(
    "divisions",
    metadata,
    Column("fold", Integer, primary_key=True),
    Column("drawn_as", Text, nullable=False, comment="JSON: shares and seed that the parts were drawn with"),
)

acquisitions = Table(
    "acquisitions",
    metadata,
    Column("micrograph", String(64), ForeignKey("micrographs.id"), primary_key=True),
    Column("version", String(64), nullable=False, comment="of the readers of headers and databars"),
    Column("record", Text, nullable=False),
)

landmarks = Table(
    "landmarks",
    metadata,
    Column("micrograph", String(64), ForeignKey("micrographs.id"), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("packed", LargeBinary, nullable=False, comment="places by which overlapping fields are found"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("micrograph", String(64), ForeignKey("micrographs.id"), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("record", Text, nullable=False, comment="JSON list of Measurement"),
)

lessons = Table(
    "lessons",
    metadata,
    Column("micrograph", String(64), ForeignKey("micrographs.id"), primary_key=True),
    Column("course", String(64), primary_key=True, comment="teacher, question sets and seed"),
    comment="written with the conversations of one micrograph: its teaching is complete",
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("micrograph", String(64), ForeignKey("micrographs.id"), nullable=False, index=True),
    Column("course", String(64), nullable=False),
    Column("task", String(16), nullable=False),
    Column("record", Text, nullable=False),
    Index("ix_conversations_course_task", "course", "task"),
)

answers = Table(
    "answers",
    metadata,
    Column("student", String(64), primary_key=True, comment="hash of its weights and of how it is asked"),
    Column("conversation", String(64), ForeignKey("conversations.id"), primary_key=True),
    Column("record", Text, nullable=False),
)
