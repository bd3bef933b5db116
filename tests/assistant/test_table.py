"""A table reads back as it was written, in both formats, and no cell of it is a formula."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.assistant import table
from micrographia.errors import RecipeError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
CELLS = {
    str: TEXTS,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | CELLS[kind] for name, kind in table.COLUMNS.items()}), max_size=3
)
EMPTY = dict.fromkeys(table.COLUMNS)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return tmp_path_factory.mktemp("desk")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@given(rows=ROWS)
def test_what_is_written_is_read(desk, suffix, rows):
    table.write(desk / f"table{suffix}", rows)
    assert table.read(desk / f"table{suffix}") == rows


@given(rows=ROWS)
def test_no_cell_of_a_csv_begins_as_a_formula(desk, rows):
    table.write(desk / "table.csv", rows)
    with (desk / "table.csv").open(encoding="utf-8", newline="") as file:
        cells = [
            row[name] for row in csv.DictReader(file) for name, kind in table.COLUMNS.items() if kind is str
        ]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


def test_a_name_that_is_a_formula_is_marked_as_text(tmp_path):
    table.write(tmp_path / "t.csv", [EMPTY | {"path": "=HYPERLINK(1).png"}, EMPTY | {"path": "plain.png"}])
    lines = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["'=HYPERLINK(1).png", "plain.png"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_somebody_else_is_left_alone(tmp_path, suffix):
    out = tmp_path / f"table{suffix}"
    out.write_bytes(b"name,age\nAda,36\n")
    with pytest.raises(RecipeError, match="give another name"):
        table.read(out)
    assert out.read_bytes() == b"name,age\nAda,36\n"


def test_a_csv_with_a_number_that_is_none_is_refused(tmp_path):
    out = tmp_path / "t.csv"
    table.write(out, [EMPTY | {"modified_ns": 12}])
    out.write_text(out.read_text(encoding="utf-8").replace("12", "1.2E+01"), encoding="utf-8")
    with pytest.raises(RecipeError, match="no table of `screen`"):
        table.read(out)


@pytest.mark.parametrize("name", ["table.xlsx", "table", "nowhere/table.csv", "folder.csv"])
def test_where_no_table_can_be(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RecipeError):
        table.check(tmp_path / name)


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    out = tmp_path / "t.parquet"
    table.write(out, [EMPTY | {"path": "a.png"}])
    with pytest.raises((TypeError, ValueError)):
        table.write(out, [EMPTY | {"width": "wide"}])
    assert [row["path"] for row in table.read(out)] == ["a.png"]
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_a_torn_line_of_the_journal_is_left_out(tmp_path):
    journal = tmp_path / "t.csv.part"
    assert list(table.read_journal(journal)) == []
    first, second, third = (EMPTY | {"path": f"{name}\n.png"} for name in "abc")
    table.append_to_journal(journal, [first])
    table.append_to_journal(journal, [second])
    journal.write_bytes(journal.read_bytes().rstrip()[:-5])
    table.append_to_journal(journal, [third])
    journal.write_bytes(journal.read_bytes() + json.dumps({"other": 1}).encode())
    assert list(table.read_journal(journal)) == [first, third]
