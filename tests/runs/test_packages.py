"""What is installed, as the disk tells it: the same for every installer and place."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path

from deepdiva.runs.packages import Package, installed_packages, pylock


def install(place: Path, name: str, version: str, *, record: str = "", origin: object = None) -> None:
    """A distribution as pip leaves it on disk."""
    folder = place / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "RECORD").write_text(record)
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))


def test_packages_are_those_that_importlib_knows() -> None:
    known = {
        dist.metadata["Name"].replace("_", "-").replace(".", "-").lower(): dist.version
        for dist in metadata.distributions()
    }
    assert {package.name: package.version for package in installed_packages()} == known


def test_the_first_of_two_on_the_path_counts(tmp_path: Path) -> None:
    install(tmp_path / "a", "My_Package", "2.0", record="x.py,sha256=abc,3\n")
    install(tmp_path / "b", "my.package", "1.0", record="x.py,sha256=def,3\n")
    places = [str(tmp_path / "a"), str(tmp_path / "missing"), str(tmp_path / "b")]
    assert [(package.name, package.version) for package in installed_packages(places)] == [("my-package", "2.0")]


def test_the_digest_of_a_package_does_not_tell_pip_from_uv(tmp_path: Path) -> None:
    pip = (
        "../../../bin/tool,sha256=aaa,10\nx/__init__.py,sha256=bbb,3\nx/__pycache__/__init__.cpython-311.pyc,,\n"
        "x-1.0.dist-info/INSTALLER,sha256=ccc,4\nx-1.0.dist-info/METADATA,sha256=ddd,5\nx-1.0.dist-info/RECORD,,\n"
    )
    uv = (
        "x-1.0.dist-info/METADATA,sha256=ddd,5\nx/__init__.py,sha256=bbb,3\n../../../bin/tool,sha256=eee,9\n"
        "x-1.0.dist-info/INSTALLER,sha256=fff,2\nx-1.0.dist-info/REQUESTED,sha256=ggg,0\nx-1.0.dist-info/RECORD,,\n"
    )
    other = pip.replace("bbb", "changed")
    for place, record in (("pip", pip), ("uv", uv), ("other", other)):
        install(tmp_path / place, "x", "1.0", record=record)
    digests = [installed_packages([str(tmp_path / place)])[0].sha256 for place in ("pip", "uv", "other")]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] is not None


def test_pylock_reads_back_with_every_kind_of_source(tmp_path: Path) -> None:
    editable = {"url": "file:///home/me/x", "dir_info": {"editable": True}}
    vcs = {"url": "https://me:token@example.org/y", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    archive = {"url": "https://example.org/z.whl", "archive_info": {"hashes": {"sha256": "def"}}}
    install(tmp_path, "x", "1", record="x.pth,sha256=abc,1\n", origin=editable)
    install(tmp_path, "y", "2", record="y.py,sha256=abc,1\n", origin=vcs)
    install(tmp_path, "z", "3", origin=archive)
    install(tmp_path, "plain", "4", record="p.py,sha256=abc,1\n")
    lock = tomllib.loads(pylock(installed_packages([str(tmp_path)]), python="3.11.7"))
    assert lock["lock-version"] == "1.0"
    assert lock["requires-python"] == "==3.11.7"
    plain, x, y, z = lock["packages"]
    assert x == {"name": "x", "version": "1", "directory": {"path": "/home/me/x", "editable": True}}
    assert y["vcs"] == {"type": "git", "url": "https://example.org/y", "commit-id": "abc"}
    assert z["archive"] == {"url": "https://example.org/z.whl", "hashes": {"sha256": "def"}}
    assert plain.keys() == {"name", "version", "tool"}
    assert len(plain["tool"]["deepdiva"]["record-sha256"]) == 64


def test_a_damaged_origin_is_no_origin(tmp_path: Path) -> None:
    install(tmp_path, "x", "1", origin=[1])
    (tmp_path / "x-1.dist-info" / "RECORD").unlink()
    assert installed_packages([str(tmp_path)]) == [Package("x", "1")]
