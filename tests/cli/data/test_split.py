from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of 20 files by five writers, below a current directory of its own."""
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        path = Path("pages", "ab"[number % 2], f"w{number % 5}_{number:02d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    return Path("pages")


def test_a_list_is_made_and_told(cli, pages):
    done = cli("data", "split", pages)
    assert done.code == 0
    assert done.out.splitlines() == [
        "split  samples  classes  least in a class  most",
        "train       32        2                16    16",
        "val          4        2                 2     2",
        "test         4        2                 2     2",
        "list pages-splits.json",
    ]
    assert "--data pages --splits pages-splits.json" in done.err
    content = json.loads(Path("pages-splits.json").read_text())
    assert [len(content["splits"][split]) for split in ("train", "val", "test")] == [32, 4, 4]
    assert content["how"]["seed"] == 0


def test_nothing_is_overwritten(cli, pages):
    assert cli("data", "split", pages).code == 0
    before = Path("pages-splits.json").read_bytes()
    done = cli("data", "split", pages, "--seed", 1)
    assert (done.code, "is there already" in done.err) == (2, True)
    assert Path("pages-splits.json").read_bytes() == before


def test_nothing_is_written_into_the_data_set(cli, pages, monkeypatch):
    assert "would lie in the data set" in cli("data", "split", pages, "--to", pages / "splits.json").err
    monkeypatch.chdir(pages)
    assert cli("data", "split", ".").code == 2


def test_folds_by_group(cli, pages):
    done = cli("data", "split", pages, "--folds", 5, "--group-by", r"^(w\d)_", "--json")
    answer = json.loads(done.out)
    assert len(answer["splits"]) == 15
    assert [row["samples"] for row in answer["splits"] if row["split"] == "test"] == [8] * 5
    folds = json.loads(Path(answer["path"]).read_text())["folds"]
    for fold in folds:
        assert sum(len({name[2:4] for name in names}) for names in fold.values()) == 5


@pytest.mark.parametrize("by", ["link", "copy"])
def test_folders_are_made(cli, pages, by):
    done = cli("data", "split", pages, "--by", by, "--counts", "rest", 6, 4, "--to", "divided")
    assert done.code == 0
    assert len(list(Path("divided").glob("*/*/*.png"))) == 40
    assert len(list(Path("divided/val").glob("*/*.png"))) == 6
    assert Path("divided/val").is_dir()
    again = cli("data", "split", "divided", "--fractions", 0.5, 0.5, "--to", "other.json")
    assert again.code == 0


def test_what_is_missing_from_a_split_is_said(cli, pages):
    Path("pages/c").mkdir()
    Path("pages/c/w9_1.png").write_text("one")
    assert "not every class is in val, test" in cli("data", "split", pages).err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["pages", "--counts", "many"], "neither a number of samples nor 'rest'"),
        (["pages", "--folds", "1"], "no folds"),
        (["pages", "--group-by", "w"], "no group in brackets"),
        (["pages", "--folds", "2", "--by", "copy"], "once for each fold"),
        (["pages", "--folds", "2", "--counts", "3"], "not allowed with"),
    ],
)
def test_mistakes_are_explained(cli, pages, words, message):
    done = cli("data", "split", *words)
    assert done.code == 2
    assert message in done.err
    assert sorted(path.name for path in Path().iterdir() if path.name != "home") == ["pages"]


def test_training_reads_the_list(project, cli, tmp_path):
    from PIL import Image

    for number in range(40):
        path = tmp_path / "shades" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number + 100 * (number % 2)).save(path)
    assert cli("data", "split", tmp_path / "shades", "--folds", 2, "--to", tmp_path / "folds.json").code == 0
    words = ["--data", tmp_path / "shades", "--splits", tmp_path / "folds.json", "--fold", 1, "--epochs", 1]
    done = cli("run", "image-classification", *words)
    assert done.code == 0, done.err
    (membership,) = Path("runs").glob("*/*/data/membership.json")
    made = json.loads((tmp_path / "folds.json").read_text())["folds"][1]
    assert json.loads(membership.read_text()) == made
