from __future__ import annotations

import errno
import fcntl
import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from original_sets import packed, put, serving

from deepdiva.data import catalog, expected, formats, store
from deepdiva.data.download import Downloaded, addresses, download
from deepdiva.data.footprint import footprint
from deepdiva.errors import UserError
from deepdiva.runs.storage import System

NAMES = ("mnist", "cifar10", "cifar100", "svhn", "stl10")


@pytest.fixture
def served(site, known):
    for made in known.values():
        site.files |= made.served
    return site


@pytest.fixture
def get(served) -> Callable[..., Downloaded]:
    def call(name: str, **given) -> Downloaded:
        given.setdefault("mirrors", [served.address])
        return download(name, pause=lambda seconds: None, **given)

    return call


@pytest.fixture
def no_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("no_torchvision")
@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_is_fetched_checked_read_and_known(get, served, known, name):
    done = get(name)
    small, folder = known[name], store.data_directory() / name
    assert done.fetched == tuple(file.name for file in small.dataset.published)
    home = small.dataset.layouts[0].folders[0]
    kept = {path for path in small.unpacked if "extra" not in path}
    assert tree(folder) == {f"{home}/{path}" if home else path for path in kept}
    receipt = store.load(name)
    assert receipt is not None
    assert receipt.verified
    assert receipt.footprint == footprint(folder / home, deep=True)
    numbers = receipt.statistics
    pixels = small.train[0].astype(np.float64).transpose(1, 0, 2, 3).reshape(small.train[0].shape[1], -1) / 255
    np.testing.assert_allclose(numbers["mean"], pixels.mean(1), rtol=1e-12)
    np.testing.assert_allclose(numbers["std"], pixels.std(1), rtol=1e-12)
    assert (numbers["train"], numbers["test"]) == (len(small.train[1]), len(small.test[1]))
    assert numbers["class_counts"]["train"] == np.bincount(small.train[1], minlength=len(small.classes)).tolist()
    asked = len(served.asked)
    again = get(name)
    assert again.fetched == ()
    assert again.receipt.footprint == receipt.footprint
    assert len(served.asked) == asked


@pytest.mark.usefixtures("no_torchvision")
def test_a_broken_download_goes_on(get, served, known):
    name = "cifar-10-python.tar.gz"
    half = len(served.files[name]) // 2
    served.faults[name] = [("cut", half), *[("cut", 0)] * 4]
    with pytest.raises(UserError) as caught:
        get("cifar10")
    assert "the same command goes on" in (caught.value.hint or "")
    assert tree(store.folder_of("cifar10")) == {f"{name}.part"}
    get("cifar10")
    assert served.asked[-1] == (name, f"bytes={half}-")
    assert formats.find("cifar10") is not None


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_there_need_no_network(known, tmp_path, monkeypatch, no_torchvision, name):
    monkeypatch.setattr("urllib.request.urlopen", None)
    small = known[name]
    home = small.dataset.layouts[0].folders[-1]
    files = {path: content for path, content in small.unpacked.items() if "extra" not in path}
    folder = put(files, tmp_path / "own" / home)
    times = {path: (folder / path).stat().st_mtime_ns for path in files}
    done = download(name, to=tmp_path / "own")
    assert done.fetched == ()
    assert {path: (folder / path).stat().st_mtime_ns for path in files} == times
    assert tree(folder) == set(files)
    named = formats.find(name)
    assert named is not None
    assert named.folder == tmp_path / "own"


def test_a_folder_of_ones_own_is_remembered(get, served, known, tmp_path):
    folder = put(known["svhn"].served, tmp_path / "own")
    (folder / "extra_32x32.mat").unlink()
    get("svhn", to=folder)
    assert get("svhn").receipt.folder == folder
    assert served.asked == []
    get("svhn:extra")
    assert (folder / "extra_32x32.mat").is_file()
    assert not store.folder_of("svhn").exists()


def test_an_archive_that_is_there_is_unpacked_and_kept(known, tmp_path, monkeypatch, no_torchvision):
    monkeypatch.setattr("urllib.request.urlopen", None)
    put(known["cifar10"].served, tmp_path / "own")
    assert download("cifar10", to=tmp_path / "own").fetched == ()
    assert {path.name for path in (tmp_path / "own").iterdir()} == {"cifar-10-batches-py", "cifar-10-python.tar.gz"}


def test_what_torchvision_left_is_used(known, tmp_path, no_torchvision):
    put(known["mnist"].more["raw"], tmp_path / "own" / "MNIST" / "raw")
    done = download("mnist", to=tmp_path / "own")
    assert done.fetched == ()
    assert not done.receipt.verified  # nobody publishes checksums of the unpacked files


def test_a_folder_may_be_the_mirror(get, known, tmp_path, no_torchvision):
    copy = put(known["svhn"].served, tmp_path / "copy")
    assert get("svhn", mirrors=[str(copy)]).fetched == ("train_32x32.mat", "test_32x32.mat")
    put(known["mnist"].served, tmp_path / "torch" / "MNIST" / "raw")
    assert len(get("mnist", mirrors=[str(tmp_path / "torch")]).fetched) == 4


def test_mirrors_are_tried_in_order(get, served, known, tmp_path):
    with serving() as other:
        other.files = {name: b"x" * len(content) for name, content in known["mnist"].served.items()}
        get("mnist", mirrors=[other.address, served.address])
        assert len(other.asked) == len(served.asked) == 4


@pytest.mark.parametrize(
    ("mirror", "said"), [("ftp://host/x", "ftp is not supported"), ("nowhere", "there is no such folder")]
)
def test_a_mirror_that_cannot_be_one_is_refused(get, mirror, said):
    with pytest.raises(UserError, match=said):
        get("mnist", mirrors=[mirror])
    assert not store.data_directory().exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_checksum_leaves_nothing(get, served, known, name):
    victim = known[name].dataset.published[-1].name
    content = bytearray(served.files[victim])
    content[len(content) // 2] ^= 1
    served.files[victim] = bytes(content)
    with pytest.raises(UserError, match=f"{victim} could not be downloaded.*(?s:.*)has another content"):
        get(name)
    assert all(victim not in path for path in tree(store.folder_of(name).parent))
    with pytest.raises(UserError, match="not downloaded yet"):
        formats.find(name)


def publish(known, site, monkeypatch, name: str, archive: bytes) -> None:
    """Publishes another archive in the place of one, with its own checksum."""
    import hashlib
    from dataclasses import replace

    dataset = known[name].dataset
    file = replace(dataset.published[0], size=len(archive), md5=hashlib.md5(archive).hexdigest())
    monkeypatch.setitem(catalog.SETS, name, replace(dataset, published=(file,)))
    site.files[file.name] = archive


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda archive: archive[: len(archive) // 2], "is truncated"),
        (lambda archive: gzip.compress(gzip.decompress(archive)[:5000]), "is truncated"),
        (lambda archive: packed({"../escaped": b"x"}), r"leads out of the folder: \.\./escaped"),
        (lambda archive: packed({"/tmp/escaped-from-archive": b"x"}), "leads out of the folder"),
        (lambda archive: packed({"cifar-10-batches-py/data_batch_1": b"x"}), "does not hold the published files"),
        (lambda archive: packed({"zeros": bytes(1 << 24)}), "holds more than"),
    ],
)
def test_a_bad_archive_is_named_and_leaves_nothing_unpacked(get, served, known, monkeypatch, make, said):
    name = "cifar-10-python.tar.gz"
    publish(known, served, monkeypatch, "cifar10", make(served.files[name]))
    with pytest.raises(UserError, match=said):
        get("cifar10")
    assert tree(store.data_directory()) == {f"cifar10/{name}"}
    assert not Path("/tmp/escaped-from-archive").exists()
    with pytest.raises(UserError, match="not downloaded yet"):
        formats.find("cifar10")


class Full(System):
    """A disk with room for some bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_a_full_disk_leaves_nothing_half_written(get, known):
    small = known["cifar10"]
    archive = small.served["cifar-10-python.tar.gz"]
    for room in (0, 100, len(archive) - 1):
        with pytest.raises(UserError, match="no space left"):
            get("cifar10", system=Full(room))
        assert not store.folder_of("cifar10").exists()
    for room in (0, 5000, sum(map(len, small.unpacked.values())) - 1):
        with pytest.raises(UserError, match="no space left"):
            get("cifar10", system=Full(len(archive) + room if room == 0 else room))
        assert tree(store.folder_of("cifar10")) <= {"cifar-10-python.tar.gz"}
    get("cifar10")
    assert formats.find("cifar10") is not None


def test_a_disk_too_small_is_noticed_before_anything_is_fetched(get, served, known, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"STL-10 needs .* where 1\.0 kB are free"):
        get("stl10")
    assert served.asked == []
    assert not store.folder_of("stl10").exists()


def test_a_rest_of_a_killed_process_is_no_obstacle(get):
    put({".unpacking/cifar-10-batches-py/data_batch_1": b"half"}, store.folder_of("cifar10"))
    get("cifar10")
    assert not (store.folder_of("cifar10") / ".unpacking").exists()


def test_what_is_something_else_is_never_overwritten(get, served, known, tmp_path):
    folder = put({"cifar-10-batches-py/data_batch_1": b"mine"}, tmp_path / "own")
    with pytest.raises(UserError, match="lacks data_batch_2"):
        get("cifar10", to=folder)
    put({"train_32x32.mat": b"mine"}, folder)
    with pytest.raises(UserError, match=r"train_32x32\.mat is another file"):
        get("svhn", to=folder)
    put(known["mnist"].served | {"t10k-labels-idx1-ubyte.gz": b"mine"}, folder)
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz: has another content"):
        get("mnist", to=folder)
    assert served.asked == []
    assert (folder / "train_32x32.mat").read_bytes() == b"mine"


def test_two_downloads_into_one_folder_do_not_meet(get):
    folder = put({}, store.folder_of("mnist"))
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match="another process is downloading"):
            get("mnist")
    finally:
        os.close(handle)
    get("mnist")


def test_more_files_for_a_variant_are_fetched_when_it_is_asked_for(get, served):
    get("svhn")
    with pytest.raises(UserError, match="not complete") as caught:
        formats.find("svhn:extra")
    assert caught.value.hint == "deepdiva data download svhn:extra"
    assert get("svhn:extra").fetched == ("extra_32x32.mat",)
    assert formats.find("svhn:extra") is not None
    assert len(served.asked) == 3


def test_this_machine_remembers_what_was_downloaded(get):
    done = get("cifar10")
    folder = store.folder_of("cifar10") / "cifar-10-batches-py"
    known = expected.remembered(folder)
    assert known is not None
    assert known.root == done.receipt.footprint.root
    assert "its download" in known.origin


@pytest.mark.parametrize(
    ("name", "hint"), [("mnits", "did you mean 'mnist'?"), ("imagenet", "there are mnist"), ("stl10:x", "stl10:0")]
)
def test_an_unknown_name_is_an_error(name, hint):
    with pytest.raises(UserError, match=r"there is no data set|has no variant") as caught:
        download(name)
    assert hint in (caught.value.hint or "")


def test_a_receipt_that_cannot_be_read_counts_for_nothing(get):
    get("mnist")
    for content in ("", "{}", "[]", '{"schema": 1, "footprint": "x"}'):
        (store.data_directory() / "mnist.json").write_text(content)
        assert store.load("mnist") is None
        assert formats.find("mnist") is not None  # its usual place is enough


@pytest.mark.parametrize("name", catalog.SETS)
def test_every_file_has_an_address(name):
    dataset = catalog.SETS[name]
    for file in [*dataset.published, *(file for files in dataset.extra.values() for file in files)]:
        assert addresses(dataset, file)
        assert all(address.endswith(f"/{file.name}") for address in addresses(dataset, file))


def test_mnist_has_more_than_one_address():
    mnist = catalog.SETS["mnist"]
    assert len(addresses(mnist, mnist.published[0])) >= 2
