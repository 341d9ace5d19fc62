"""Images are decoded once, by footprint, names, decoding and decoder; later runs read none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from deepdiva.data import cache, decode
from deepdiva.data.arrays import ArraySplits, Rows
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.streaming import Streamed
from deepdiva.errors import UserError, UserErrors


def test_a_second_run_reads_no_image(
    root: Path, unread: Callable[[], None], contents: Callable[[ArraySplits], list[Any]]
):
    first = load_image_folder(root)
    expected, proof = contents(first), first.footprints[0]
    unread()
    again = load_image_folder(root)
    assert contents(again) == expected
    assert again.footprints[0] == proof
    assert type(again.train).__name__ == "Arrays"


def test_an_exact_copy_elsewhere_is_known_without_decoding(
    root: Path, monkeypatch: pytest.MonkeyPatch, contents: Callable[[ArraySplits], list[Any]]
):
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


def test_every_split_off_val_uses_the_same_images(
    tmp_path: Path, unread: Callable[[], None], make_images: Callable[..., Path]
):
    root = make_images(tmp_path / "images", count=20)
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


def test_what_does_not_fit_is_streamed_or_refused(root: Path, limit_to: Callable[[str], None]):
    limit_to("0 MB")
    assert isinstance(load_image_folder(root).train, Streamed)
    with pytest.raises(UserError, match="for which the cache has no room"):
        load_image_folder(root, cache="always")
    limit_to("1 MB")
    assert not isinstance(load_image_folder(root).train, Streamed)
    assert not list(cache.directory().glob(".building*"))


def test_errors_leave_nothing_behind(root: Path):
    Image.new("L", (9, 9)).save(root / "test/a/0.png")
    with pytest.raises(UserErrors, match="2 different sizes"):
        load_image_folder(root)
    (root / "test/a/0.png").write_bytes(b"no image")
    with pytest.raises(UserErrors, match="cannot be used"):
        load_image_folder(root)
    assert not list(cache.directory().glob(".building*"))
    assert cache.entries() == []
