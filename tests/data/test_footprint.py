from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.data import files, footprint, manifest
from deepdiva.data.changes import Changes
from deepdiva.data.footprint import Entry, Footprint, Recorder, of_contents, verify
from deepdiva.errors import UserError, UserErrors

CONTENTS = {"train/cat/1.png": b"one", "train/dog/2.png": b"two", "test/cat/3.png": b"three", "README": b"letters"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "set", CONTENTS)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets files that were just written count as untouched for long, as they would a moment later."""
    monkeypatch.setattr(manifest, "is_settled", lambda stamp, now_ns: True)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed."""
    hashed: list[str] = []
    original = files._read

    def spy(path: str, listed: files.Stamp | None) -> tuple[bytes, files.Hashed]:
        hashed.append(Path(path).name)
        return original(path, listed)

    monkeypatch.setattr(files, "_read", spy)
    return hashed


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_it_names_every_file_with_size_and_content(root):
    taken = footprint.footprint(root)
    assert taken.files == {name: Entry(len(content), sha256(content)) for name, content in CONTENTS.items()}
    assert taken.kind == "folder"
    assert taken.size == sum(map(len, CONTENTS.values()))


def test_the_root_digest_is_what_the_documentation_says(tmp_path):
    root = write(tmp_path / "set", {"b/x": b"1", "a": b"22"})
    inner = sha256(b"x\0file 1 %s\n" % sha256(b"1").encode())
    outer = sha256(b"a\0file 2 %s\n" % sha256(b"22").encode() + b"b\0folder %s\n" % inner.encode())
    assert footprint.footprint(root).root == outer


def test_an_empty_folder_has_a_footprint(tmp_path):
    (tmp_path / "set").mkdir()
    assert footprint.footprint(tmp_path / "set").root == sha256(b"")


def test_a_copy_with_other_times_and_links_verifies(root, tmp_path):
    taken = footprint.footprint(root)
    copy = tmp_path / "other" / "name"
    shutil.copytree(root, copy, copy_function=shutil.copyfile)
    (copy / "empty").mkdir()
    (copy / "README").unlink()
    (copy / "README").symlink_to(root / "README")
    assert footprint.footprint(copy).root == taken.root
    assert not verify(taken, copy, deep=True)


def test_one_file_has_a_footprint(root):
    taken = footprint.footprint(root / "README")
    assert taken.kind == "file"
    assert taken.files == {"README": Entry(7, sha256(b"letters"))}
    assert not verify(taken, root / "README")


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        footprint.footprint(tmp_path / "nowhere")


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.usefixtures("settled")
def test_every_change_is_named_and_nothing_else(root, deep):
    taken = footprint.footprint(root)
    (root / "train/cat/1.png").rename(root / "train/dog/1.png")
    (root / "train/dog/2.png").write_bytes(b"TWO")
    (root / "README").unlink()
    write(root, {"train/dog/9.png": b"nine"})
    assert verify(taken, root, deep=deep) == Changes(
        added=("train/dog/9.png",),
        removed=("README",),
        changed=("train/dog/2.png",),
        renamed=(("train/cat/1.png", "train/dog/1.png"),),
    )


@pytest.mark.usefixtures("settled")
def test_a_quick_check_sees_a_byte_that_was_changed_with_its_times_restored(root):
    taken = footprint.footprint(root)
    path = root / "train/cat/1.png"
    before = path.stat()
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.write(b"O")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert verify(taken, root) == Changes(changed=("train/cat/1.png",))


def test_a_change_right_after_the_footprint_is_seen(root):
    path = root / "train/cat/1.png"
    for content in (b"aaa", b"bbb", b"ccc", b"ddd"):
        path.write_bytes(content)
        assert footprint.footprint(root).files["train/cat/1.png"].sha256 == sha256(content)


@pytest.mark.usefixtures("settled")
def test_a_quick_check_reads_only_what_was_touched(root, reads):
    taken = footprint.footprint(root)
    assert len(reads) == 4
    reads.clear()
    assert not verify(taken, root)
    assert reads == []
    time.sleep(0.02)
    (root / "README").touch()
    assert not verify(taken, root)
    assert reads == ["README"]
    reads.clear()
    assert not verify(taken, root, deep=True)
    assert len(reads) == 4


@pytest.mark.usefixtures("settled")
def test_a_deep_check_sees_what_no_stamp_shows(root, monkeypatch):
    taken = footprint.footprint(root)
    stamp = files.scan(root).files["README"]
    (root / "README").write_bytes(b"lettres")
    # A decaying disk: other bytes, and not a trace in the file's times.
    monkeypatch.setattr(files, "_stamp", lambda status: stamp if status.st_size == 7 else (status.st_size, 0, 0, 0))
    assert not verify(taken, root)
    assert verify(taken, root, deep=True).changed == ("README",)


def test_nothing_is_written_into_the_set(root):
    before = sorted((path, path.stat().st_mtime_ns) for path in [root, *root.rglob("*")])
    footprint.footprint(root)
    verify(footprint.footprint(root), root, deep=True)
    assert before == sorted((path, path.stat().st_mtime_ns) for path in [root, *root.rglob("*")])


def test_all_that_cannot_be_read_is_named_at_once(root):
    (root / "gone.png").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    with pytest.raises(UserErrors) as caught:
        footprint.footprint(root)
    assert str(caught.value).startswith(f"{root} cannot be read as a whole:")
    assert sorted(map(str, caught.value.problems)) == [
        "gone.png: is a link to nowhere, which does not exist",
        "pipe: is neither a file nor a folder",
    ]


def test_a_check_reports_what_it_could_not_read(root):
    taken = footprint.footprint(root)
    (root / "README").unlink()
    (root / "README").symlink_to("nowhere")
    changes = verify(taken, root)
    assert changes.removed == ()
    assert [problem.where for problem in changes.unreadable] == ["README"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names")
def test_names_that_are_not_utf8(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for name in (b"gr\xf6\xdfe.png", "größe.png".encode(), b"line\nbreak"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    taken = footprint.footprint(root)
    lines = sorted(
        name + b"\0file %d %s\n" % (len(name), sha256(name).encode())
        for name in (b"gr\xf6\xdfe.png", "größe.png".encode(), b"line\nbreak")
    )
    assert taken.root == sha256(b"".join(lines))
    text = taken.to_json()
    assert text.isascii()
    assert Footprint.from_json(text) == taken
    assert not verify(taken, root)


def test_the_text_form_reads_back(root):
    taken = footprint.footprint(root)
    text = taken.to_json()
    assert Footprint.from_json(text) == taken
    assert Footprint.from_json(text).to_json() == text
    assert json.loads(text)["root"] == taken.root
    assert json.loads(text)["source"] == str(root)
    assert Footprint.from_json(of_contents({}).to_json()).files == {}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": [[1]]}', '{"schema": 1, "files": {}, "kind": "x"}'])
def test_what_is_no_footprint_is_refused(text):
    with pytest.raises(UserError, match="footprint"):
        Footprint.from_json(text)


def test_an_altered_footprint_is_refused(root):
    text = footprint.footprint(root).to_json()
    with pytest.raises(UserError, match="altered"):
        Footprint.from_json(text.replace("README", "README.md"))


def test_where_it_lay_is_no_part_of_it(root):
    taken = footprint.footprint(root)
    assert Footprint(taken.files, source="elsewhere") == taken
    assert not taken.changes_to(Footprint(taken.files, source="elsewhere"))
    assert taken.changes_to(Footprint({})).removed == tuple(sorted(CONTENTS))


names = st.lists(st.text("ab\udcff.é", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(names, st.binary(max_size=3), max_size=6), st.randoms())
def test_the_digest_does_not_depend_on_order_but_on_everything_else(contents, random):
    made = of_contents(contents)
    shuffled = list(made.files.items())
    random.shuffle(shuffled)
    assert Footprint(dict(shuffled)).root == made.root
    assert Footprint.from_json(made.to_json()).root == made.root
    for name in contents:
        fewer = {other: content for other, content in contents.items() if other != name}
        assert of_contents(fewer).root != made.root
        assert of_contents({**contents, name: contents[name] + b"!"}).root != made.root
        assert of_contents({**fewer, f"{name}x": contents[name]}).root != made.root or f"{name}x" in contents


def test_reading_and_proving_are_one_pass(root, reads, monkeypatch):
    seen = []
    monkeypatch.setattr(footprint, "read_file", lambda path, listed: seen.append(path) or files.read_file(path, listed))
    recorder = Recorder(root)
    assert recorder.names == sorted(CONTENTS)
    assert recorder.folders == ("test", "test/cat", "train", "train/cat", "train/dog")
    assert recorder.read("train/cat/1.png") == b"one"
    taken = recorder.finish()
    assert taken.root == footprint.footprint(root, deep=True).root
    assert reads.count("1.png") == 2, "once by the recorder, once by the deep footprint after it"
    assert len(seen) == 1


def test_a_recorder_may_be_used_by_many_threads(tmp_path):
    contents = {f"{n % 5}/{n}": os.urandom(200) for n in range(400)}
    root = write(tmp_path / "set", contents)
    recorder = Recorder(root, threads=8)
    workers = [
        threading.Thread(target=lambda part=part: [recorder.read(name) for name in recorder.names[part::4]])
        for part in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert recorder.finish().files == of_contents(contents).files


def test_two_footprints_at_once_agree(root):
    results = []
    workers = [threading.Thread(target=lambda: results.append(footprint.footprint(root).root)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(set(results)) == 1
    assert len(results) == 6


def test_a_set_in_the_making_never_gives_a_wrong_hash(tmp_path):
    """While a program rewrites files, each hash is that of a content the file had, or the file is named."""
    root = tmp_path / "set"
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    write(root, {f"{n}": contents[0] for n in range(6)})
    stop = threading.Event()

    def rewrite() -> None:
        place = 0
        while not stop.is_set():
            temporary = tmp_path / "next"
            temporary.write_bytes(contents[place % 2])
            temporary.replace(root / str(place % 6))
            place += 1

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(10):
            recorder = Recorder(root)
            taken = recorder.collect()
            assert {entry.sha256 for entry in taken.files.values()} <= {sha256(content) for content in contents}
            assert len(taken.files) + len(recorder.troubles) == 6
    finally:
        stop.set()
        writer.join()


@pytest.mark.usefixtures("settled")
def test_files_that_are_as_they_were_are_not_read_again(tmp_path, monkeypatch):
    contents = {f"train/{n % 10}/{n:05d}.png": b"%d" % n for n in range(5_000)}
    root = write(tmp_path / "set", contents)
    taken = footprint.footprint(root)
    read = []
    monkeypatch.setattr(footprint, "hash_files", lambda root, files, threads: (read.extend(files), ({}, []))[1])
    assert not verify(taken, root)
    assert read == []
    assert taken.files == of_contents(contents).files


def test_torch_is_not_imported():
    code = (
        "import sys, deepdiva.data.footprint, deepdiva.data.splits, deepdiva.data.statistics, deepdiva.data.arrays,"
        "deepdiva.data.image_folder, deepdiva.data.points; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
