"""`deepdiva data footprint`, `verify` and `export`, as they are typed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.cli.data import footprint as module
from deepdiva.data import manifest
from deepdiva.data.files import WRITTEN_PROOF
from deepdiva.data.footprint import Footprint, footprint
from deepdiva.errors import UserError, UserErrors
from deepdiva.runs.record import encode_record, new_record

Call = Callable[..., tuple[int, str]]
NAMES = ("train/cat/1.png", "train/cat/2.png", "train/dog/3.png", "README")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "is_settled", lambda stamp, now_ns: True)
    for name in NAMES:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Path("set")


@pytest.fixture
def data(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: object) -> tuple[int, str]:
        parser = argparse.ArgumentParser(prog="deepdiva data", allow_abbrev=False)
        module.add_parsers(parser.add_subparsers(required=True))
        arguments = parser.parse_args([str(word) for word in words])
        capsys.readouterr()
        code: int = arguments.func(arguments)
        return code, capsys.readouterr().out

    return call


def write_run(taken: Footprint, ending: str) -> Path:
    path = Path("runs", "points", f"20261101T120000Z-{ending}")
    (path / "data").mkdir(parents=True)
    facts: dict[str, Any] = {"kind": "run", "parent": None, "task": "t", "data": "set", "seed": 1, "determinism": {}}
    (path / "run.json").write_bytes(encode_record(new_record(path, command=[], **facts)))
    (path / "data" / "footprint-0.json").write_text(taken.to_json())
    return path


def test_a_footprint_is_printed_and_remembered(root, data):
    code, out = data("footprint", root)
    assert code == 0
    assert out == f"{footprint(root).root}  4 files, 51 bytes\n"
    assert data("verify", root)[0] == 0
    assert not (root / WRITTEN_PROOF).exists()


def test_every_kind_of_change_is_named(root, data):
    data("footprint", root)
    (root / "new.png").touch()
    (root / "README").unlink()
    (root / "train/cat/1.png").rename(root / "train/dog/1.png")
    (root / "train/dog/3.png").rename(root / "train/dog/three.png")
    path = root / "train/cat/2.png"
    before = path.stat()
    path.write_text("train/cat/!.png")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, out = data("verify", root)
    assert code == 1
    assert out.splitlines()[:-1] == [
        "train/cat/2.png: has changed",
        "README: is gone",
        "new.png: is new",
        "train/cat/1.png: is now train/dog/1.png",
        "train/dog/3.png: is now train/dog/three.png",
    ]
    assert out.splitlines()[-1].endswith(": 5 differences")
    answer = json.loads(data("verify", root, "--json")[1])
    assert answer["unchanged"] is False
    assert answer["changed"] == ["train/cat/2.png"]
    assert answer["renamed"][0] == ["train/cat/1.png", "train/dog/1.png"]
    assert data("verify", root)[0] == 1, "looking does not make it right"
    data("footprint", root)
    assert data("verify", root, "--deep")[0] == 0


def test_a_copy_elsewhere_is_the_same_and_one_byte_is_found_there(root, data):
    data("footprint", root, "--save", "proof.json")
    shutil.copytree(root, "copy")
    code, out = data("verify", "copy", "--against", "proof.json")
    assert (code, out) == (0, "copy is unchanged, says the footprint proof.json: 4 files, 51 bytes\n")
    Path("copy/README").write_text("readme")
    assert data("verify", "copy", "--against", "proof.json")[1].startswith("README: has changed\n")


def test_a_data_set_may_carry_its_footprint(root, data):
    data("footprint", root, "--write-into")
    assert (root / WRITTEN_PROOF).stat().st_mode & 0o444 == 0o444 & ~_mask()
    shutil.copytree(root, "copy")
    assert data("verify", "copy")[0] == 0
    (Path("copy") / "new").touch()
    assert data("verify", "copy")[0] == 1


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_another_footprint_is_not_written_over_unasked(root, data, capsys):
    data("footprint", root, "--write-into", "--save", "proof.json")
    data("footprint", root, "--write-into", "--save", "proof.json")
    (root / "new").touch()
    for option in (["--write-into"], ["--save", "proof.json"]):
        with pytest.raises(UserError, match="exists and says something else"):
            data("footprint", root, *option)
    data("footprint", root)
    assert data("verify", root)[0] == 1, "what the set says of itself still counts"
    data("footprint", root, "--write-into", "--replace")
    assert data("verify", root)[0] == 0
    Path("notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        data("footprint", root, "--save", "notes.txt")


def test_it_says_that_something_else_was_known(root, data, capsys):
    data("footprint", root)
    (root / "new").touch()
    parser = argparse.ArgumentParser()
    module.add_parsers(parser.add_subparsers())
    arguments = parser.parse_args(["footprint", str(root)])
    arguments.func(arguments)
    assert "before, it was something else according to a footprint taken on 20" in capsys.readouterr().err


def test_against_a_run(root, data):
    run = write_run(footprint(root), "abcdef")
    for named in (run, "abcdef", "last"):
        assert data("verify", root, "--against", named)[0] == 0
    (root / "README").write_text("other")
    code, out = data("verify", root, "--against", "abc")
    assert code == 1
    assert out.startswith("README: has changed\n")
    shutil.copytree(root, "copy")
    assert data("verify", "copy", "--against", run)[0] == 1, "a run that read one place may be asked about a copy"


def test_a_run_that_read_nothing_there(root, data):
    run = write_run(footprint(root), "abcdef")
    (run / "data" / "footprint-0.json").unlink()
    with pytest.raises(UserError, match="did not read set: it read no files"):
        data("verify", root, "--against", run)


def test_names_that_are_not_utf8(root, data):
    if sys.platform == "darwin":
        pytest.skip("macOS refuses such names")
    data("footprint", root)
    Path(os.fsdecode(b"set/gr\xf6\xdfe")).touch()
    code, out = data("verify", root)
    assert code == 1
    assert out.startswith("gr\\udcf6\\udcdfe: is new\n")
    assert json.loads(data("verify", root, "--json")[1])["added"] == ["gr\udcf6\udcdfe"]
    out = data("footprint", root, "--json")[1]
    assert out.isascii()
    assert Footprint.from_json(out) == footprint(root)
    with pytest.raises(UserErrors, match="cannot name these files"):
        data("export", root)


def test_one_file(root, data):
    data("footprint", root / "README")
    assert data("verify", root / "README")[0] == 0
    (root / "README").write_text("other")
    assert data("verify", root / "README")[1].startswith("README: has changed\n")
    with pytest.raises(UserError, match="nothing can be written into it"):
        data("footprint", root / "README", "--write-into")


def test_mistakes(root, data):
    with pytest.raises(UserError, match="no footprint of set is known") as caught:
        data("verify", root)
    assert "deepdiva data footprint set" in (caught.value.hint or "")
    with pytest.raises(UserError, match="there is no file or folder sett") as caught:
        data("footprint", "sett")
    assert caught.value.hint == "did you mean 'set'?"
    with pytest.raises(UserError, match="this is not a footprint"):
        data("verify", root, "--against", root / "README")
    with pytest.raises(UserError, match="there is no run"):
        data("verify", root, "--against", "nothing")


def test_export(root, data):
    code, out = data("export", root, "--name", "cats", "--version", "1.0.0")
    content = json.loads(out)
    assert code == 0
    assert (content["name"], content["version"]) == ("cats", "1.0.0")
    assert content["distribution"][0]["contentUrl"] == "README"
    data("export", root, "--to", "set.json")
    assert json.loads(Path("set.json").read_text())["distribution"][0]["contentUrl"] == "set/README"
    with pytest.raises(UserError, match="exists already"):
        data("export", root, "--to", "set.json")
    for place in (root / "new.json", root / "train" / "new.json", Path("runs") / "new.json"):
        with pytest.raises(UserError, match="beside or above the data set"):
            data("export", root, "--to", place)
        assert not place.exists()


@pytest.mark.timeout(120)
def test_a_hundred_thousand_files(root, data, monkeypatch):
    """Stamps and hashes are made up here, so that the test measures our part and not the disk."""
    from deepdiva.data import footprint as proof
    from deepdiva.data.files import Scan

    names = [f"train/{place % 100}/{place}.png" for place in range(100_000)]
    stamps = {name: (3, 5, 5, place) for place, name in enumerate(names)}
    monkeypatch.setattr(proof, "scan", lambda path: Scan(path, dict(stamps), (), ()))
    manifest.save(root, {name: (f"{place:064x}", stamps[name]) for place, name in enumerate(names)}, now_ns=10**10)
    data("footprint", root)
    read: list[str] = []
    monkeypatch.setattr(proof, "hash_files", lambda root, files, threads: (read.extend(files), ({}, []))[1])
    assert data("verify", root)[0] == 0
    assert read == []
    moved = dict(stamps)
    moved["train/5/moved.png"] = moved.pop("train/4/4.png")
    monkeypatch.setattr(proof, "scan", lambda path: Scan(path, moved, (), ()))
    monkeypatch.setattr(
        proof, "hash_files", lambda root, files, threads: ({n: (f"{4:064x}", s) for n, s in files.items()}, [])
    )
    code, out = data("verify", root)
    assert code == 1
    assert out.startswith("train/4/4.png: is now train/5/moved.png\n")
