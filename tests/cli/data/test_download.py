"""`deepdiva data download`, as it is typed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

from deepdiva.cli.data.download import Progress
from deepdiva.data import store

PATH = Path(__file__).parents[2] / "data" / "original_sets.py"
if "original_sets" not in sys.modules:
    spec = importlib.util.spec_from_file_location("original_sets", PATH)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["original_sets"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["original_sets"])
original_sets = sys.modules["original_sets"]
site, small, known = original_sets.site, original_sets.small, original_sets.known


@pytest.fixture
def mirror(site, known) -> str:
    for made in known.values():
        site.files |= made.served
    return site.address


def test_a_data_set_is_downloaded_and_told_about(cli, mirror):
    done = cli("data", "download", "MNIST", "--mirror", mirror)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "MNIST: 30 training and 10 test images, 28 x 28 gray, 10 classes"
    assert f"folder     {store.folder_of('mnist')}" in lines
    assert "checksums  as published" in lines
    assert "per class  3 training images" in lines
    assert lines[-1] == "use it     deepdiva run image-classification --data mnist"
    assert "train-images-idx3-ubyte.gz  100 %" in done.err
    assert done.out.count("\r") == done.err.count("\r") == 0


def test_machines_are_told_the_same(cli, mirror):
    answer = json.loads(cli("data", "download", "stl10", "--mirror", mirror, "--json").out)
    assert answer["fetched"] == ["stl10_binary.tar.gz"]
    assert answer["verified"] is True
    assert len(answer["footprint"]) == 64
    assert answer["statistics"]["train"] == 40
    assert "stl10:0 … stl10:9" in answer["protocol"]
    again = json.loads(cli("data", "download", "stl10:3", "--json").out)
    assert again["fetched"] == []
    assert again["name"] == "stl10:3"


def test_folders_of_images_are_made(cli, mirror):
    done = cli("data", "download", "cifar10", "--mirror", mirror, "--as", "folders")
    folders = store.data_directory() / "cifar10-folders"
    assert f"images in  {folders}" in done.out
    assert f"--data {folders}" in done.out
    assert len(list(folders.rglob("*.png"))) == 36
    assert cli("data", "download", "cifar10", "--as", "folders").code == 2  # they are there already


def test_the_table_says_what_is_here(cli, mirror):
    cli("data", "download", "mnist", "--mirror", mirror)
    rows = {row["name"]: row for row in json.loads(cli("data", "download", "--json").out)}
    assert rows.keys() == {"mnist", "fashionmnist", "kmnist", "cifar10", "cifar100", "svhn", "stl10"}
    assert rows["mnist"]["folder"] == str(store.folder_of("mnist"))
    assert rows["svhn"]["folder"] is None
    assert "Fashion" not in cli("data", "download").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mnits",), "did you mean 'mnist'?"),
        (("mnist", "--mirror", "ftp://x/y"), "ftp is not supported"),
        (("stl10:11",), "has no variant '11'"),
    ],
)
def test_mistakes_are_explained(cli, words, said):
    done = cli("data", "download", *words)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_a_run_reads_what_was_downloaded(cli, mirror, project):
    words = ("run", "image-classification", "--epochs", 1, "--model.width", 4, "--seed", 0, "--no-tensorboard")
    missing = cli(*words, "--data", "mnist")
    assert missing.code == 2
    assert "deepdiva data download mnist" in missing.err
    assert cli("data", "download", "mnist", "--mirror", mirror).code == 0
    done = cli(*words, "--data", "mnist")
    assert done.code == 0, done.err
    run = next(Path("runs/image-classification").glob("2*"))
    record = json.loads((run / "run.json").read_text())
    assert record["data"] == "mnist"
    assert "test/accuracy" in record["results"]
    files = json.loads((run / "data" / "footprint-0.json").read_text())["files"]
    assert [name for name, *_ in files] == sorted(original_sets.small_mnist().served)


def test_a_run_is_refused_when_the_files_have_changed(cli, mirror, project):
    cli("data", "download", "cifar10", "--mirror", mirror)
    victim = store.folder_of("cifar10") / "cifar-10-batches-py" / "data_batch_2"
    content = bytearray(victim.read_bytes())
    content[-900] ^= 1
    victim.write_bytes(bytes(content))
    words = ("run", "image-classification", "--data", "cifar10", "--epochs", 0, "--model.width", 4)
    done = cli(*words)
    assert done.code == 2
    assert "data_batch_2" in done.err
    assert "its download" in done.err


def test_a_fold_is_named_in_the_configuration(cli, mirror, project):
    cli("data", "download", "stl10", "--mirror", mirror)
    words = ("run", "image-classification", "--data", "stl10:3", "--epochs", 0, "--model.width", 4)
    done = cli(*words)
    assert done.code == 0, done.err
    run = next(Path("runs/image-classification").glob("2*"))
    assert yaml.safe_load((run / "config.yaml").read_text())["data"] == "stl10:3"


def test_a_terminal_gets_one_line_that_is_redrawn(monkeypatch, capsys):
    monkeypatch.setattr("deepdiva.cli.console.is_terminal", lambda stream: True)
    times = iter([0.0, 0.01, 2.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    progress = Progress()
    for done in (100_000, 200_000, 500_000, 1_000_000):
        progress("a.bin", done, 1_000_000)
    progress.finish()
    shown = capsys.readouterr().err.split("\r")[1:]
    assert [line.removesuffix("\n").removesuffix("\x1b[K") for line in shown] == [
        "a.bin   10 %  100.0 kB of 1.0 MB",
        "a.bin   50 %  500.0 kB of 1.0 MB  200.0 kB/s  2.5 s left",
        "a.bin  100 %  1.0 MB of 1.0 MB  225.0 kB/s",
    ]
