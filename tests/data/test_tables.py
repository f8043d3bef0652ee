"""A table names photos, and every row that cannot be meant is told by its number."""

from pathlib import Path

import pytest

from mitsugo.data.reading import Reading
from mitsugo.data.tables import listed_table
from mitsugo.errors import DataError, UsageError

AS_IT_IS = Reading()
BSD = Path(__file__).parents[3] / "shared" / "data" / "bsd_patches" / "table.csv"


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_a_table_is_its_rows_in_their_order(table, tmp_path):
    files = listed_table(table("Label,path,note\n良品,b/2.png,x\nng,a.png,\n良品,/abs.png,\n"), AS_IT_IS)
    assert files.names == ("b/2.png", "a.png", "/abs.png")
    assert files.paths == (tmp_path / "b/2.png", tmp_path / "a.png", Path("/abs.png"))
    assert (files.labels.tolist(), files.class_names) == ([1, 0, 1], ("ng", "良品"))
    assert (files.groups, files.split) == (None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators_are_told_apart(table, encoding, separator):
    text = "path,label,group,split\n検査 1.png,良品,lot10,train\n2.png,不良,lot2,TEST\n3.png,不良,lot2,val\n"
    files = listed_table(table(text.replace(",", separator), encoding=encoding), AS_IT_IS)
    assert files.names[0] == "検査 1.png"
    assert (files.groups.tolist(), files.group_names) == ([1, 0, 0], ("lot2", "lot10"))
    parts = (files.split.train, files.split.validation, files.split.test)
    assert [part.tolist() for part in parts] == [[0], [2], [1]]


def test_a_pattern_counts_instead_of_the_column(table):
    path = table("path,label,group\np1_a.png,ok,x\np1_b.png,ng,y\n\n")
    files = listed_table(path, Reading(group_by=r"p\d"))
    assert (files.groups.tolist(), files.group_names) == ([0, 0], ("p1",))


def test_parquet_is_read_like_csv(table, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"path": ["a.png", "b.png"], "label": [0, 1], "group": ["x", "y"], "more": [1.5, None]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "table.parquet")
    files = listed_table(tmp_path / "table.parquet", AS_IT_IS)
    assert (files.names, files.class_names, files.groups.tolist()) == (("a.png", "b.png"), ("0", "1"), [0, 1])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        listed_table(table("path,label\n", "bad.parquet"), AS_IT_IS)


def test_parquet_without_pyarrow_says_what_to_install(table, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"Parquet needs pyarrow: pip install 'mitsugo\[tables\]'"):
        listed_table(table("", "table.parquet"), AS_IT_IS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column path and no column label"),
        ("path,class\na.png,ok\n", "has no column label; expected path and label"),
        ("path,label\n", "has no rows"),
        ("path,label\na.png,ok\nb.png\n", "line 3 has 1 fields, expected 2"),
        ("path,label\na.png,\n", "row 1 has no label"),
        ("path,label\n,ok\n", "row 1 has no path"),
        ("path,label\na.png,ok\nb.png,ng\na.png,ok\n", "rows 1 and 3 name a.png twice"),
        ("path,label\na.png,ok\na.png,ng\n", "rows 1 and 2 name a.png under two labels"),
        ("path,label\na.png,ok\nb.png,ok\n", "one class only"),
        ("path,label,split\na.png,ok,train\nb.png,ng,later\n", "row 2 has the split later; expected train"),
        ("path,label,split\na.png,ok,train\nb.png,ng,train\n", "the test part has no photos"),
        ('path,label\n"a.png,ok\n', "line 2 is no CSV"),
    ],
)
def test_what_cannot_be_meant_is_named(table, text, message):
    with pytest.raises(DataError, match=message):
        listed_table(table(text), AS_IT_IS)


def test_other_bytes_and_missing_files_are_named(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"path,label\n\x85\xff,ok\n")
    with pytest.raises(DataError, match="is neither UTF-8 nor Shift-JIS"):
        listed_table(tmp_path / "bytes.csv", AS_IT_IS)
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        listed_table(tmp_path / "none.csv", AS_IT_IS)


@pytest.mark.skipif(not BSD.exists(), reason="../shared/data/bsd_patches is not there")
def test_a_real_table_of_a_factory():
    files = listed_table(BSD, AS_IT_IS)
    counts = dict(zip(files.class_names, map(files.labels.tolist().count, range(2)), strict=True))
    assert (counts, len(files.group_names)) == ({"ng": 485, "ok": 788}, 75)
    assert all(path.exists() for path in files.paths)
