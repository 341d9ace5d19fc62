from __future__ import annotations

from pathlib import Path

import pytest

from deepdiva.data.tables import SampleTable, read_table
from deepdiva.errors import UserError


def read(tmp_path: Path, text: str | bytes, **settings: str) -> SampleTable:
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, **settings)


@pytest.mark.parametrize("cut", [",", ";", "\t"])
def test_a_table_is_read(tmp_path, cut):
    text = "\ufeffwriter,Path,Class\neve,./a/1.png,x\n\nbob,a\\2.png,y\n".replace(",", cut)
    found = read(tmp_path, text)
    assert found.columns == ("writer", "Path", "Class")
    assert (found.label, found.split) == ("Class", None)
    assert found.value("a/2.png", "writer") == "bob"
    assert found.lines == {"a/1.png": 2, "a/2.png": 4}


def test_the_first_column_is_the_file_unless_one_is_called_so(tmp_path):
    assert list(read(tmp_path, "scan,split\n1.png,train\n").rows) == ["1.png"]
    assert read(tmp_path, "scan,split\n1.png,train\n").split == "split"
    assert read(tmp_path, "image,kind\n1.png,train\n", label="kind").label == "kind"


def test_names_are_matched_with_files(tmp_path):
    found = read(tmp_path, "file,writer\na/1.png,eve\n2.png,bob\n").resolve(["a/1.png", "b/2.png"])
    assert set(found.rows) == {"a/1.png", "b/2.png"}
    with pytest.raises(UserError, match=r"table\.csv:3: 2\.png fits several files"):
        read(tmp_path, "file,writer\na/1.png,eve\n2.png,bob\n").resolve(["a/1.png", "b/2.png", "c/2.png"])
    with pytest.raises(UserError, match=r"table\.csv:2: x\.png is no sample"):
        read(tmp_path, "file,writer\nx.png,eve\n").resolve(["a/1.png"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no header"),
        ("a,a\n1,2\n", "a title of its own"),
        ("file,label\n", "has no lines"),
        ("file,label\n1.png\n", r"table\.csv:2: has 1 cells where the header has 2"),
        ("file,label\n1.png,a\n1.png,b\n,c\n", r"1\.png stands on line 2 already(.|\n)*:4: names no file"),
        (b"file\n\xff\n", "cannot be read as a table"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"has no column 'lable'\n.*did you mean 'label'"):
        read(tmp_path, "file,label\n1.png,a\n", label="lable")
