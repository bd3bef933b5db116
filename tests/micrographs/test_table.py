"""The lab's table: what it may say, and that a wrong cell is named before anything starts."""

import json
from pathlib import Path

import pytest

from micrographia.errors import RecipeError
from micrographia.micrographs.table import COLUMNS, assign, names_files, read_table
from micrographia.micrographs.walk import find_files

FULL = {
    "file": "a.png",
    "label": "Fibres",
    "group": "specimen 3",
    "caption": "Electrospun mat; beads, and a “knot”.",
    "part": "test",
    "pixel_size_nm": "12.5",
    "technique": "SEM",
    "maker": "Zeiss",
    "model": "Merlin",
    "detector": "InLens",
    "accelerating_voltage_kv": "5",
    "working_distance_mm": "4.1",
    "magnification": "50000",
}


def table(tmp_path, text, name="labels.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


def as_csv(row, delimiter=","):
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in row.values()]
    return delimiter.join(row) + "\n" + delimiter.join(quoted) + "\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_column_of_a_csv(tmp_path, delimiter, encoding):
    assert set(FULL) == set(COLUMNS)
    told = read_table(table(tmp_path, as_csv(FULL, delimiter), encoding=encoding)).rows["a.png"]
    assert (told.label, told.group, told.part) == ("Fibres", "specimen 3", "test")
    assert told.caption == FULL["caption"]
    assert told.scale.pixel_size_nm == 12.5
    assert told.scale.readings[0].source == "table"
    instrument = told.instrument
    assert (instrument.technique, instrument.maker, instrument.model) == ("SEM", "Zeiss", "Merlin")
    assert (instrument.accelerating_voltage.value, instrument.accelerating_voltage.unit) == (5, "kV")
    assert (instrument.working_distance.value, instrument.working_distance.unit) == (4.1, "mm")
    assert (instrument.detector, instrument.magnification) == ("InLens", 50000)


def test_json_lines_say_the_same(tmp_path):
    numbers = {k: float(v) if v.replace(".", "").isdigit() else v for k, v in FULL.items()}
    text = (
        json.dumps(numbers, ensure_ascii=False) + "\n\n" + json.dumps({"file": "b.png", "label": None}) + "\n"
    )
    rows = read_table(table(tmp_path, text, "labels.jsonl")).rows
    assert rows["a.png"] == read_table(table(tmp_path, as_csv(FULL))).rows["a.png"]
    assert rows["b.png"].label is None


def test_unknown_columns_are_listed_and_empty_cells_say_nothing(tmp_path):
    read = read_table(table(tmp_path, "id,file,label,remarks\n1,a.png,,good\n2,b.png,Tips,\n"))
    assert read.unknown_columns == ("id", "remarks")
    assert read.rows["a.png"].label is None
    assert read.rows["b.png"].label == "Tips"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,pixel_size_nm\na.png,12\nb.png,ten\n", "line 3, column pixel_size_nm is 'ten'"),
        ("file,pixel_size_nm\na.png,-1\n", "line 2, column pixel_size_nm is '-1'"),
        ("file,pixel_size_nm\na.png,inf\n", "column pixel_size_nm"),
        ("file,magnification\na.png,0\n", "line 2, column magnification"),
        ("file,part\na.png,holdout\n", "line 2, column part is 'holdout'"),
        ("file,label\n,Tips\n", "line 2, column file is empty"),
        ("file,label\na.png,Tips\na.png,Fibres\n", "line 3, column file: 'a.png' has a row already"),
        ("name,label\na.png,Tips\n", "no column 'file'"),
        ("file,label\na.png,Tips,more\n", "line 2 has not 2 cells"),
        ("file,label\na.png\n", "line 2 has not 2 cells"),
        ("file,label\n", "has no row"),
        ("", "no column 'file'"),
        ('{"file": "a.png"}\n{"file": \n', "no JSON at line 2"),
        ('{"file": "a.png"}\n["b.png"]\n', "line 2 is no object"),
        ('{"file": "a.png", "label": 3}\n', "line 1, column label is 3"),
    ],
)
def test_wrong_tables_name_row_and_column(tmp_path, text, words):
    with pytest.raises(RecipeError) as error:
        read_table(table(tmp_path, text))
    assert words in str(error.value)
    assert "labels.csv" in str(error.value)


def test_a_decimal_comma_is_told_from_other_words(tmp_path):
    with pytest.raises(RecipeError) as error:
        read_table(table(tmp_path, "file;pixel_size_nm;magnification\na.png;12,5;many\n"))
    assert "line 2, column pixel_size_nm is '12,5': the decimal sign is a point, as in 12.5" in str(
        error.value
    )
    assert "column magnification is 'many': Input should be a valid number" in str(error.value)


def test_of_a_column_that_is_wrong_throughout_five_cells_are_named(tmp_path):
    wrong = "".join(f"{i}.png;{i},5;\n" for i in range(42))
    with pytest.raises(RecipeError) as error:
        read_table(table(tmp_path, f"file;pixel_size_nm;part\n{wrong}z.png;1;holdout\n"))
    named = error.value.remedy.split("; ")
    assert [words.partition(",")[0] for words in named[:5]] == [f"line {i}" for i in range(2, 7)]
    assert named[5] == "and 37 more in column pixel_size_nm"
    assert named[6].startswith("line 44, column part is 'holdout'") and len(named) == 7


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError) as error:
        read_table(tmp_path / "none.csv")
    assert str(error.value) == f"there is no table {tmp_path / 'none.csv'}: check the path"
    with pytest.raises(RecipeError, match=r"cannot be read \(.*\): name a CSV or JSONL file"):
        read_table(tmp_path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_table_in_another_encoding_names_the_line(tmp_path, mark):
    text = "file,label\r\na.png,Tips\r\nb.png,Oberfläche\r\nc.png,Öl\r\n"
    (tmp_path / "latin.csv").write_bytes(mark + text.encode("cp1252"))
    with pytest.raises(
        RecipeError, match=r"latin\.csv is not UTF-8 at line 3: save it as UTF-8 \(in Excel: CSV"
    ):
        read_table(tmp_path / "latin.csv")


@pytest.mark.parametrize("letter", ["\u2028", "\u2029", "\u0085"])
def test_json_lines_end_at_newlines_only(tmp_path, letter):
    rows = [{"file": "a.png", "caption": f"one{letter}two"}, {"file": "b.png"}]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    told = read_table(table(tmp_path, text, "labels.jsonl")).rows
    assert told["a.png"].caption == f"one{letter}two" and set(told) == {"a.png", "b.png"}


@pytest.mark.parametrize("column", ["label", "group", "caption"])
@pytest.mark.parametrize("word", ["\u00dcbersicht", "U\u0308bersicht"])
def test_one_word_is_one_class_however_its_accents_are_stored(tmp_path, column, word):
    told = read_table(table(tmp_path, f"file,{column}\na.png,{word}\n")).rows["a.png"]
    assert getattr(told, column) == "\u00dcbersicht"


@pytest.fixture
def images(tmp_path):
    for name in ("one/a.png", "two/a.png", "two/b.png", "two/Café.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    return find_files([tmp_path / "images"])


@pytest.mark.parametrize("name", ["b.png", "two/b.png", "./two/b.png", "two\\b.png", "images/two/b.png"])
def test_a_row_finds_its_file_by_name_or_path(tmp_path, images, name):
    told, missing = assign(read_table(table(tmp_path, f"file,label\n{name},Tips\n")), images)
    assert {path.rpartition("/")[2]: t.label for path, t in told.items()} == {"b.png": "Tips"}
    assert missing == ()


@pytest.mark.parametrize("name", ["{link}/one/a.png", "link/one/a.png", "link\\one\\a.png"])
def test_a_row_finds_its_file_through_a_link(tmp_path, images, name):
    """Links are followed for files, so they are for rows."""
    (tmp_path / "link").symlink_to(tmp_path / "images")
    rows = read_table(table(tmp_path, f"file,label\n{name.format(link=tmp_path / 'link')},X\n"))
    told, missing = assign(rows, find_files([tmp_path / "link"]))
    assert [Path(path).name for path in told] == ["a.png"] and missing == ()


@pytest.mark.parametrize("name", ["a\0b.png", "circle/a.png"])
def test_a_row_that_is_no_path_is_listed(tmp_path, images, name):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    rows = read_table(table(tmp_path, json.dumps({"file": name, "label": "X"}), "t.jsonl"))
    assert assign(rows, images)[1] == (name,)


def test_accents_composed_or_not(tmp_path, images):
    told, _ = assign(read_table(table(tmp_path, "file,label\nCafe\u0301.png,Films\n")), images)
    assert [t.label for t in told.values()] == ["Films"]


def test_a_name_that_fits_two_files_is_refused_and_one_that_fits_none_is_listed(tmp_path, images):
    with pytest.raises(RecipeError, match=r"'a.png' fits .*one/a.png and .*two/a.png"):
        assign(read_table(table(tmp_path, "file,label\na.png,Tips\n")), images)
    told, missing = assign(read_table(table(tmp_path, "file,label\n../secret.png,Tips\n")), images)
    assert (told, missing) == ({}, ("../secret.png",))


def test_two_rows_for_one_file_are_refused(tmp_path, images):
    with pytest.raises(RecipeError, match="two rows"):
        assign(read_table(table(tmp_path, "file,label\nb.png,Tips\ntwo/b.png,Tips\n")), images)


@pytest.mark.parametrize(
    ("name", "text", "looks_like_one"),
    [
        ("labels.csv", "file,label\n", True),
        ("LABELS.CSV", '\ufefflabel; "file"\r\n', True),
        ("labels.tsv", "label\tfile\n", True),
        ("labels.jsonl", '{"label": "Tips", "file": "a.png"}\n', True),
        ("sizes.csv", "Label,Area\n1,20\n", False),
        ("sizes.csv", "profile,files\n1,20\n", False),
        ("truth.jsonl", '{"image": "a.png"}\n', False),
        ("notes.txt", "file,label\n", False),
        ("empty.csv", "", False),
    ],
)
def test_a_table_that_nobody_named_is_told_by_its_first_line(tmp_path, name, text, looks_like_one):
    assert names_files(table(tmp_path, text, name)) == looks_like_one


def test_bytes_that_are_no_text_are_no_table(tmp_path):
    assert not names_files(table(tmp_path, "file,größe", "labels.csv", "latin-1"))
    assert not names_files(tmp_path / "nowhere.csv")
