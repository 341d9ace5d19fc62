"""Images are decoded once: what is kept is whole, checked, safe among processes, and bounded."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deepdiva.data import blocks, cache, decode, draft, files
from deepdiva.data.arrays import ArraySplits, Rows
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.streaming import Streamed
from deepdiva.errors import UserError, UserErrors
from deepdiva.runs.settings import user_file

SETTLED_SECONDS = 0.06


def write_images(root: Path, *, count: int = 6, size: tuple[int, int] = (5, 4), seed: int = 0) -> Path:
    values = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        for place in range(count):
            folder = root / split / ("a", "b")[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{place}.png")
    time.sleep(SETTLED_SECONDS)  # so that their stamps are believed
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, reading or decoding a file of a data set is an error."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a file was read")

    def begin() -> None:
        monkeypatch.setattr(decode.Decoding, "decode", refuse)
        for name in ("read_file", "hash_file", "_read"):
            monkeypatch.setattr(files, name, refuse)

    return begin


def contents(splits: ArraySplits) -> list[Any]:
    assert splits.test is not None
    parts = (splits.train, splits.val, splits.test)
    return [(part.inputs.tolist(), part.targets.tolist(), list(part.ids)) for part in parts] + [splits.statistics]


def only_entry() -> cache.Entry:
    (entry,) = cache.entries()
    return entry


def limit_to(size: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(f'cache_limit = "{size}"\n')


def test_a_second_run_reads_no_image(root: Path, unread: Callable[[], None]):
    first = load_image_folder(root)
    expected, proof = contents(first), first.footprints[0]
    unread()
    again = load_image_folder(root)
    assert contents(again) == expected
    assert again.footprints[0] == proof
    assert type(again.train).__name__ == "Arrays"


def test_an_exact_copy_elsewhere_is_known_without_decoding(root: Path, monkeypatch: pytest.MonkeyPatch):
    expected = contents(load_image_folder(root))
    root.rename(root.with_name("moved"))
    monkeypatch.setattr(decode.Decoding, "decode", lambda *args: pytest.fail("decoded"))
    assert contents(load_image_folder(root.with_name("moved"))) == expected


def test_other_content_names_or_settings_are_decoded_anew(root: Path):
    load_image_folder(root)
    load_image_folder(root, size=8)
    load_image_folder(root, channels="rgb")
    assert len(cache.entries()) == 3
    Image.new("L", (4, 5), 9).save(root / "train/a/0.png")
    assert load_image_folder(root).train.inputs[0].unique().tolist() == [9]
    (root / "train/a/0.png").rename(root / "train/b/zero.png")
    assert load_image_folder(root).train.inputs[-1].unique().tolist() == [9]
    assert len(cache.entries()) == 5


def test_another_decoder_decodes_anew(root: Path, monkeypatch: pytest.MonkeyPatch):
    load_image_folder(root)
    monkeypatch.setattr("deepdiva.data.decoded.decoder", lambda: "Pillow 99")
    load_image_folder(root)
    assert len(cache.entries()) == 2


def test_every_split_off_val_uses_the_same_images(tmp_path: Path, unread: Callable[[], None]):
    root = write_images(tmp_path / "images", count=20)
    (root / "val").rename(root / ".val")
    first = load_image_folder(root, val_fraction=0.3)
    unread()
    second = load_image_folder(root, val_fraction=0.3, split_seed=1)
    for splits in (first, second):
        assert isinstance(splits.train, Rows)
        assert len({*splits.train.ids, *splits.val.ids}) == 20
        pixels = splits.train.inputs.double() / 255
        assert splits.statistics["mean"][0] == pytest.approx(pixels.mean().item())
        assert splits.statistics["std"][0] == pytest.approx(pixels.std(correction=0).item())
        inputs, targets = splits.train.batch(torch.tensor([2, 0]))
        assert torch.equal(inputs, splits.train.inputs[[2, 0]])
        assert torch.equal(splits.train[1][0], splits.train.inputs[1])
        assert targets.tolist() == splits.train.targets[[2, 0]].tolist()
    assert len(cache.entries()) == 1


@pytest.mark.parametrize("policy", ["auto", "none"])
def test_gray_images_among_coloured_ones(root: Path, policy: Any):
    Image.new("RGB", (4, 5), (10, 20, 30)).save(root / "train/b/1.png")
    splits = load_image_folder(root, cache=policy)
    assert splits.train.shape == (3, 5, 4)
    place = list(splits.train.ids).index("train/b/1.png")
    assert splits.train.inputs[place, :, 0, 0].tolist() == [10, 20, 30]
    gray = splits.train.inputs[place - 1]
    assert torch.equal(gray[0], gray[2])
    pixels = splits.train.inputs.double() / 255
    assert splits.statistics["mean"] == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert splits.statistics["std"] == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    assert contents(load_image_folder(root, cache=policy)) == contents(splits)


# -- streaming ---------------------------------------------------------------------------------------------------------


def test_streamed_samples_are_those_that_would_be_kept(root: Path):
    streamed, kept = load_image_folder(root, cache="none"), load_image_folder(root)
    assert isinstance(streamed.train, Streamed)
    assert contents(streamed) == contents(kept)
    assert torch.equal(streamed.train[3][0], kept.train[3][0])
    assert torch.equal(streamed.train.batch(torch.tensor([4, 1]))[0], kept.train.inputs[[4, 1]])


def test_a_second_streaming_run_reads_nothing_at_its_start(root: Path, unread: Callable[[], None]):
    statistics = load_image_folder(root, cache="none").statistics
    assert cache.entries() == []
    unread()
    assert load_image_folder(root, cache="none").statistics == statistics


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_processes_decode_to_the_same_batches(root: Path, workers: int):
    from deepdiva.data.augment import RandomShift, augmented
    from deepdiva.engine.loaders import Loader
    from deepdiva.engine.seeding import Streams

    kept, streamed = load_image_folder(root), load_image_folder(root, cache="none")
    for transforms in ([], [RandomShift(1)]):
        found = []
        for splits, processes in ((kept, 0), (streamed, workers)):
            loader = Loader(
                augmented(splits.train, transforms),
                batch_size=4,
                streams=Streams(0),
                device=torch.device("cpu"),
                workers=processes,
                purpose="train",
            )
            found.append(torch.cat([inputs for inputs, _ in loader.batches(1, loader.plan(1))]))
        assert torch.equal(*found)


def test_a_file_that_changes_while_it_is_streamed_is_named(root: Path):
    splits = load_image_folder(root, cache="none")
    Image.new("L", (4, 5), 9).save(root / "train/a/0.png")
    with pytest.raises(UserError, match=r"train/a/0\.png has changed since the run began"):
        splits.train[0]
    (root / "train/a/0.png").unlink()
    with pytest.raises(UserError, match=r"train/a/0\.png cannot be read"):
        splits.train[0]


def test_what_does_not_fit_is_streamed_or_refused(root: Path):
    limit_to("0 MB")
    assert isinstance(load_image_folder(root).train, Streamed)
    with pytest.raises(UserError, match="for which the cache has no room"):
        load_image_folder(root, cache="always")
    limit_to("1 MB")
    assert not isinstance(load_image_folder(root).train, Streamed)
    assert not list(cache.directory().glob(".building*"))


def test_a_cache_that_cannot_be_written_is_no_trouble(root: Path, monkeypatch: pytest.MonkeyPatch):
    writing = os.write
    calls = iter(range(100))

    def fill_up(handle: int, content: memoryview) -> int:
        if next(calls) == 0:
            raise OSError(28, "No space left on device")
        return writing(handle, content)

    monkeypatch.setattr(blocks.os, "write", fill_up)
    assert isinstance(load_image_folder(root).train, Streamed)
    assert not list(cache.directory().glob(".building*"))
    calls = iter(range(100))
    with pytest.raises(UserError, match="No space left"):
        load_image_folder(root, cache="always")


# -- what is on disk ---------------------------------------------------------------------------------------------------


def test_what_is_written_to_the_images_never_reaches_the_disk(root: Path):
    splits = load_image_folder(root)
    before = (only_entry().path / "pixels").read_bytes()
    splits.train.inputs.zero_()
    assert (only_entry().path / "pixels").read_bytes() == before
    assert load_image_folder(root).train.inputs.any()


def damage(path: Path, place: int) -> None:
    """Changes one byte, and leaves all else as it was."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("name", ["pixels", "checksums", "about.json"])
def test_a_damaged_entry_is_made_anew(root: Path, name: str):
    expected = contents(load_image_folder(root))
    gc.collect()
    damage(only_entry().path / name, 3)
    assert contents(load_image_folder(root)) == expected
    damage(only_entry().path / name, 3)
    assert contents(load_image_folder(root)) == expected


def test_a_cut_or_missing_file_is_noticed(root: Path):
    expected = contents(load_image_folder(root))
    (only_entry().path / "pixels").chmod(0o600)
    os.truncate(only_entry().path / "pixels", 7)
    assert contents(load_image_folder(root)) == expected
    (only_entry().path / "checksums").unlink()
    assert contents(load_image_folder(root)) == expected


def test_all_blocks_are_checked_when_the_stamp_is_new_and_a_sample_otherwise(tmp_path: Path):
    import mmap

    path, size = tmp_path / "pixels", 40 * blocks.BLOCK + 5
    writer = blocks.BlockWriter(path)
    writer.write(memoryview(np.arange(size, dtype=np.uint8)))
    writer.finish()
    check = writer.write_checksums(tmp_path / "checksums")

    def holds(*, everything: bool) -> bool:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return blocks.check_blocks(content, tmp_path / "checksums", check, everything=everything)

    assert holds(everything=True)
    assert holds(everything=False)
    damage(path, 20 * blocks.BLOCK)
    assert not holds(everything=True)
    assert not all(holds(everything=False) for _ in range(60))  # seen with probability 1 - (33/39)**60
    damage(path, 20 * blocks.BLOCK)
    damage(path, size - 1)
    assert not holds(everything=False)


def test_checked_again_as_a_whole_after_a_restart(root: Path, monkeypatch: pytest.MonkeyPatch):
    checked: list[bool] = []
    checking = cache.check_blocks

    def note(*args: Any, everything: bool) -> bool:
        checked.append(everything)
        return checking(*args, everything=everything)

    monkeypatch.setattr(cache, "check_blocks", note)
    load_image_folder(root)
    load_image_folder(root)
    assert checked == [False, False]
    monkeypatch.setattr(cache, "boot", lambda: "another life")
    load_image_folder(root)
    load_image_folder(root)
    assert checked[2:] == [True, False]


# -- processes ---------------------------------------------------------------------------------------------------------


def _load(root: Path, ready: Any, decoded: Any) -> None:
    decoding = decode.Decoding.decode

    def count(self: decode.Decoding, content: bytes) -> decode.Pixels:
        with decoded.get_lock():
            decoded.value += 1
        return decoding(self, content)

    decode.Decoding.decode = count  # type: ignore[method-assign]
    ready.wait()
    splits = load_image_folder(root)
    assert not isinstance(splits.train, Streamed)


def test_of_runs_that_start_at_once_one_decodes(root: Path):
    processes = multiprocessing.get_context("fork")
    ready, decoded = processes.Barrier(4), processes.Value("i", 0)
    started = [processes.Process(target=_load, args=(root, ready, decoded)) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    assert decoded.value == 18
    assert len(cache.entries()) == 1


def _build_slowly(root: Path, begun: Any) -> None:
    adding = draft.Draft.add

    def add(self: draft.Draft, images: decode.Pixels) -> None:
        adding(self, images)
        begun.set()
        time.sleep(60)

    draft.Draft.add = add  # type: ignore[method-assign]
    load_image_folder(root)


def test_what_a_killed_build_leaves_is_removed_later(root: Path, monkeypatch: pytest.MonkeyPatch):
    processes = multiprocessing.get_context("fork")
    begun = processes.Event()
    process = processes.Process(target=_build_slowly, args=(root, begun))
    process.start()
    assert begun.wait(30)
    monkeypatch.setattr(cache, "YOUNG_SECONDS", -1.0)
    cache.remove_leftovers()
    assert len(list(cache.directory().glob(".building*"))) == 1  # it is alive
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert cache.entries() == []
    assert not isinstance(load_image_folder(root).train, Streamed)
    assert not list(cache.directory().glob(".building*"))


def test_without_locks_the_first_to_end_is_believed(root: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(handle: int, mode: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(cache.fcntl, "flock", refuse)
    expected = contents(load_image_folder(root))
    assert contents(load_image_folder(root)) == expected
    other = draft.Draft()
    other.add(np.zeros((18, 1, 5, 4), dtype=np.uint8))
    other.publish(only_entry().key, source="x", root="y", shape=(18, 1, 5, 4), decoding="z")
    assert contents(load_image_folder(root)) == expected


# -- the bound ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three data sets of 450 kB decoded, used one after the other."""
    roots = [write_images(tmp_path / name, count=10, size=(100, 150), seed=ord(name)) for name in "abc"]
    limit_to("1 MB")
    return roots


def sources() -> list[str]:
    return [Path(entry.about.source).name for entry in cache.entries() if entry.about is not None]


def load(root: Path) -> None:
    load_image_folder(root)
    gc.collect()
    time.sleep(0.02)


def test_what_was_used_longest_ago_goes_first(three: list[Path]):
    a, b, c = three
    load(a)
    load(b)
    assert sources() == ["b", "a"]
    load(a)
    load(c)
    assert sources() == ["c", "a"]


def test_what_is_in_use_stays(three: list[Path]):
    a, b, c = three
    used = load_image_folder(a)
    load(b)
    load(c)
    assert sources() == ["c", "a"]
    assert [entry.in_use for entry in cache.entries()] == [False, True]
    assert not cache.remove(cache.entries()[1])
    other = load_image_folder(c)
    assert isinstance(load_image_folder(b).train, Streamed)
    del used, other
    gc.collect()
    assert not isinstance(load_image_folder(b).train, Streamed)


def test_samples_stay_readable_when_their_entry_is_gone(root: Path):
    splits = load_image_folder(root)
    expected = contents(splits)
    cache._discard(only_entry().path)
    assert contents(splits) == expected


def test_clearing(three: list[Path]):
    load(three[0])
    used = load_image_folder(three[1])
    os.utime(cache.entries()[1].path / "lock", (0, 0))
    removed, kept = cache.clear(older_than=3600)
    assert ([Path(e.about.source).name for e in removed], kept) == (["a"], [])
    removed, kept = cache.clear()
    assert removed == []
    assert [Path(e.about.source).name for e in kept] == ["b"]
    del used


def test_errors_leave_nothing_behind(root: Path):
    Image.new("L", (9, 9)).save(root / "test/a/0.png")
    with pytest.raises(UserErrors, match="2 different sizes"):
        load_image_folder(root)
    (root / "test/a/0.png").write_bytes(b"no image")
    with pytest.raises(UserErrors, match="cannot be used"):
        load_image_folder(root)
    assert not list(cache.directory().glob(".building*"))
    assert cache.entries() == []


def test_an_entry_says_what_it_holds(root: Path):
    proof = load_image_folder(root).footprints[0]
    about = json.loads((only_entry().path / "about.json").read_text())
    assert about["root"] == proof.root
    assert about["shape"] == [18, 1, 5, 4]
    assert "Pillow" in about["decoding"]
