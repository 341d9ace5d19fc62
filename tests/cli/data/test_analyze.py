from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def shades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight gray images, no two alike."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        path = Path("shades", "train" if number < 6 else "test", ("dark", "light")[number % 2], f"w{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (4, 2), number * 30)
        image.putpixel((0, 0), 255)
        image.save(path)
    return Path("shades")


def test_the_answer_is_a_table(cli, shades):
    done = cli("data", "analyze", shades)
    assert done.code == 0
    assert "shades: 8 images, " in done.out
    assert "split  images  pixels      mean  deviation" in done.out
    assert "dark       3     1" in done.out
    assert "size 4 x 2, 8 gray and 0 RGB, PNG 8" in done.out
    assert "nothing unusual" in done.out


def test_the_answer_for_machines(cli, shades):
    answer = json.loads(cli("data", "analyze", shades, "--json").out)
    assert [part["images"] for part in answer["parts"]] == [6, 2]
    assert answer["leaks"] is False


def test_troubles_are_named_and_may_fail_a_script(cli, shades):
    assert cli("data", "analyze", shades, "--strict").code == 0
    (shades / "test/dark/bad.png").write_bytes(b"")
    (shades / "test/dark/copy.png").write_bytes((shades / "train/dark/w0.png").read_bytes())
    done = cli("data", "analyze", shades, "--strict", "--group-by", "^(w|copy|bad)")
    assert done.code == 1
    for text in (
        "1 unreadable file: training stops there",
        "test/dark/bad.png: is an empty file",
        "1 image in several splits",
        "test/dark/copy.png = train/dark/w0.png",
        "group w: test 2, train 6",
    ):
        assert text in done.out
    assert cli("data", "analyze", shades).code == 0


def test_a_page_is_written_outside_of_the_data_set(cli, shades):
    done = cli("data", "analyze", shades, "--html", "page.html")
    assert done.code == 0
    assert "page page.html" in done.err
    assert Path("page.html").read_text().count("data:image/png") == 6
    done = cli("data", "analyze", shades, "--html", shades / "page.html")
    assert (done.code, "would lie in the data set" in done.err) == (2, True)


def test_a_split_list_is_analysed(cli, shades):
    assert cli("data", "split", shades, "--pool", "--folds", 2, "--to", "folds.json").code == 0
    assert "--fold 0 … 1" in cli("data", "analyze", shades, "--splits", "folds.json").err
    answer = json.loads(cli("data", "analyze", shades, "--splits", "folds.json", "--fold", 1, "--json").out)
    assert {part["name"]: part["images"] for part in answer["parts"]} == {"train": 3, "val": 1, "test": 4}
