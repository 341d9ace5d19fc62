"""Small data sets in the original formats, byte by byte, and a server on this machine that publishes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepdiva.data import catalog
from deepdiva.data.catalog import DataSet, Layout, Published

TEN = 10


def random(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def ten_each(count: int) -> np.ndarray:
    """`count` labels in which every one of ten classes occurs."""
    return (np.arange(count) * 7 % TEN).astype(np.int64)


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


class Python2:
    """Writes what Python 2 wrote with protocol 2: strings of bytes, and arrays of numpy 1."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.memo = 0

    def dump(self, value: Any) -> bytes:
        self.out.write(b"\x80\x02")
        self.put(value)
        return self.out.getvalue() + b"."

    def put(self, value: Any) -> None:
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, dict):
            self._opened(b"}")
            self.out.write(b"(")
            for key, item in value.items():
                self.put(key)
                self.put(item)
            self.out.write(b"u")
        elif isinstance(value, list):
            self._opened(b"]")
            self.out.write(b"(")
            for item in value:
                self.put(item)
            self.out.write(b"e")
        elif isinstance(value, str):
            self._string(value.encode())
        elif isinstance(value, bytes):
            self._string(value)
        else:
            self.out.write(self._number(value))
        return None

    def _array(self, array: np.ndarray) -> None:
        self.out.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        self._remember()
        self.out.write(b"cnumpy\nndarray\n")
        self._remember()
        self.out.write(b"K\x00\x85")
        self._remember()
        self._string(b"b")
        self.out.write(b"\x87")
        self._remember()
        self.out.write(b"R")
        self._remember()
        self.out.write(b"(K\x01" + b"".join(self._number(side) for side in array.shape) + b"\x86")
        self._remember()
        self.out.write(b"cnumpy\ndtype\n")
        self._remember()
        self._string(b"u1")
        self.out.write(b"K\x00K\x01\x87")
        self._remember()
        self.out.write(b"R")
        self._remember()
        self.out.write(b"(K\x03")
        self._string(b"|")
        self.out.write(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
        self._remember()
        self.out.write(b"b\x89")
        self._string(array.tobytes())
        self.out.write(b"t")
        self._remember()
        self.out.write(b"b")

    def _opened(self, code: bytes) -> None:
        self.out.write(code)
        self._remember()

    def _string(self, value: bytes) -> None:
        self.out.write(b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<I", len(value)))
        self.out.write(value)
        self._remember()

    def _remember(self) -> None:
        self.out.write(b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo))
        self.memo += 1

    @staticmethod
    def _number(value: int) -> bytes:
        if value < 256:
            return b"K" + bytes([value])
        return b"M" + struct.pack("<H", value) if value < 65536 else b"J" + struct.pack("<i", value)


def python2(value: Any) -> bytes:
    return Python2().dump(value)


def packed(files: Mapping[str, bytes]) -> bytes:
    """A `.tar.gz` of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Small:
    """A data set as small as it can be.

    Args:
        dataset: With the checksums of these files.
        served: What its authors publish.
        unpacked: What lies on disk in the end.
        train: The images and labels of the training split.
        test: The same of the test split.
        classes: The class names.
    """

    dataset: DataSet
    served: dict[str, bytes]
    unpacked: dict[str, bytes]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    classes: tuple[str, ...]
    more: dict[str, Any] = field(default_factory=dict)


def published(name: str, content: bytes) -> Published:
    return Published(name, len(content), hashlib.md5(content).hexdigest())


def small_mnist(name: str = "mnist") -> Small:
    known = catalog.SETS[name]
    images = random(30, 28, 28, seed=1), random(10, 28, 28, seed=2)
    labels = ten_each(30), ten_each(10)
    raw = dict(
        zip(
            catalog.IDX_NAMES,
            (idx(images[0]), idx(labels[0].astype(np.uint8)), idx(images[1]), idx(labels[1].astype(np.uint8))),
            strict=True,
        )
    )
    served = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in raw.items()}
    files = tuple(published(file, content) for file, content in served.items())
    layouts = catalog.idx_layouts(files, known.source)
    dataset = replace(known, published=files, layouts=layouts)
    train, test = ((pixels[:, None], labels[place]) for place, pixels in enumerate(images))
    return Small(dataset, served, served, train, test, known.classes, {"raw": raw})


def as_archive(known: DataSet, files: dict[str, bytes]) -> tuple[DataSet, dict[str, bytes]]:
    """The data set with the checksums of `files`, and the archive that holds them."""
    home = known.layouts[0].folders[0]
    archive = packed({f"{home}/{name}": content for name, content in files.items()})
    name = known.published[0].name
    sums = {
        file: None if known.layouts[0].files[file] is None else hashlib.md5(content).hexdigest()
        for file, content in files.items()
        if file in known.layouts[0].files
    }
    layouts = (Layout(known.layouts[0].form, sums, known.layouts[0].folders), *known.layouts[1:])
    room = sum(map(len, files.values())) + 2048 * (len(files) + 8)
    dataset = replace(known, published=(published(name, archive),), layouts=layouts, room=room)
    return dataset, {name: archive}


def small_cifar10() -> Small:
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    files, parts = {}, []
    for place in range(1, 7):
        pixels, labels = random(6, 3, 32, 32, seed=place), (ten_each(36)[place - 1 :: 6]).tolist()
        batch = f"testing batch {place}"
        files[f"data_batch_{place}" if place < 6 else "test_batch"] = python2(
            {
                "batch_label": batch,
                "labels": labels,
                "data": pixels.reshape(6, 3072),
                "filenames": [f"image_{place}_{number}.png" for number in range(6)],
            }
        )
        parts.append((pixels, np.array(labels)))
    files["batches.meta"] = python2({"num_cases_per_batch": 6, "label_names": names, "num_vis": 3072})
    files["readme.html"] = b"<html></html>"
    dataset, served = as_archive(catalog.SETS["cifar10"], files)
    train = tuple(np.concatenate([part[side] for part in parts[:5]]) for side in (0, 1))
    return Small(dataset, served, files, train, parts[5], tuple(name.decode() for name in names))


def small_cifar100() -> Small:
    fine = tuple(f"fine {place}" for place in range(100))
    coarse = tuple(f"coarse {place}" for place in range(20))
    files, splits, coarser = {}, {}, {}
    for seed, (split, size) in enumerate({"train": 40, "test": 8}.items()):
        pixels, labels = random(size, 3, 32, 32, seed=seed), np.arange(size) * 37 % 100
        coarser[split] = labels // 5
        files[split] = python2(
            {
                "data": pixels.reshape(size, 3072),
                "batch_label": split,
                "fine_labels": labels.tolist(),
                "coarse_labels": coarser[split].tolist(),
                "filenames": [f"{number}.png" for number in range(size)],
            }
        )
        splits[split] = pixels, labels
    files["meta"] = python2({"fine_label_names": list(fine), "coarse_label_names": list(coarse)})
    dataset, served = as_archive(catalog.SETS["cifar100"], files)
    return Small(
        dataset, served, files, splits["train"], splits["test"], fine, {"coarse": coarser, "coarse names": coarse}
    )


def small_svhn() -> Small:
    from scipy.io import savemat

    files, splits = {}, {}
    for seed, (split, size) in enumerate({"train": 30, "test": 12, "extra": 7}.items()):
        pixels, labels = random(size, 3, 32, 32, seed=seed), ten_each(size)
        buffer = io.BytesIO()
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(buffer, {"X": pixels.transpose(2, 3, 1, 0), "y": stored}, do_compression=True)
        files[f"{split}_32x32.mat"] = buffer.getvalue()
        splits[split] = pixels, labels
    known = catalog.SETS["svhn"]
    entries = {name: published(name, content) for name, content in files.items()}
    always = tuple(entry for name, entry in entries.items() if "extra" not in name)
    layout = Layout("svhn", {entry.name: entry.md5 for entry in always})
    dataset = replace(known, published=always, layouts=(layout,), extra={"extra": (entries["extra_32x32.mat"],)})
    return Small(dataset, files, files, splits["train"], splits["test"], known.classes, {"extra": splits["extra"]})


def small_stl10() -> Small:
    names = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    splits = {
        "train": (random(40, 3, 96, 96, seed=1), ten_each(40)),
        "test": (random(4, 3, 96, 96, seed=2), ten_each(4)),
    }
    loose = random(3, 3, 96, 96, seed=3)
    folds = [[(fold + 4 * step) % 40 for step in range(10)] for fold in range(10)]
    files = {f"{split}_X.bin": pixels.transpose(0, 1, 3, 2).tobytes() for split, (pixels, _) in splits.items()}
    files |= {f"{split}_y.bin": (labels + 1).astype(np.uint8).tobytes() for split, (_, labels) in splits.items()}
    files["unlabeled_X.bin"] = loose.transpose(0, 1, 3, 2).tobytes()
    files["fold_indices.txt"] = "".join(" ".join(map(str, fold)) + " \n" for fold in folds).encode()
    files["class_names.txt"] = "\n".join(names).encode() + b"\n"
    dataset, served = as_archive(catalog.SETS["stl10"], files)
    more = {"folds": folds, "unlabelled": loose}
    return Small(dataset, served, files, splits["train"], splits["test"], names, more)


SMALL = {
    "mnist": small_mnist,
    "cifar10": small_cifar10,
    "cifar100": small_cifar100,
    "svhn": small_svhn,
    "stl10": small_stl10,
}


class Site:
    """A server on this machine.

    Args:
        files: What it publishes, by path.
        faults: For a path, what goes wrong with the next requests, one after the other: `("cut", n)` breaks the
            connection after n bytes, `("status", n)` answers n, `("whole",)` ignores that a range was asked for,
            `("shifted",)` sends another range, `("endless",)` names no length and sends too much.
        asked: All requests: path, and the range that was asked for.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[tuple[Any, ...]]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.address = ""

    def next_fault(self, path: str) -> tuple[Any, ...]:
        waiting = self.faults.get(path, [])
        return waiting.pop(0) if waiting else ("",)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.site.asked.append((path, wanted))
        kind, *details = self.site.next_fault(path)
        content = self.site.files.get(path)
        if kind == "status" or content is None:
            self.send_error(details[0] if kind == "status" else 404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and kind != "whole" else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self._headers(content, start, kind, ranged=wanted is not None and kind != "whole")
        rest = content[start:]
        self.wfile.write(rest[: details[0]] if kind == "cut" else rest * 2 if kind == "endless" else rest)
        self.close_connection = True

    def _headers(self, content: bytes, start: int, kind: str, *, ranged: bool) -> None:
        self.send_response(206 if ranged else 200)
        if ranged:
            said = start + 1 if kind == "shifted" else start
            self.send_header("Content-Range", f"bytes {said}-{len(content) - 1}/{len(content)}")
        if kind != "endless":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server on this machine."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def small() -> dict[str, Small]:
    """All small data sets by name."""
    return {name: make() for name, make in SMALL.items()}


@pytest.fixture
def known(small: dict[str, Small], monkeypatch: pytest.MonkeyPatch) -> dict[str, Small]:
    """The small data sets, in the place of the large ones of the same name."""
    for name, made in small.items():
        monkeypatch.setitem(catalog.SETS, name, made.dataset)
    return small


def put(files: Mapping[str, bytes], folder: Path) -> Path:
    """Writes files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
