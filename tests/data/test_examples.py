from __future__ import annotations

from PIL import Image

from deepdiva.data.examples import choose_examples, thumbnails
from deepdiva.data.layout import Layout


def test_examples_are_spread_evenly_over_the_training_samples():
    names = tuple(f"{number:03d}" for number in range(100))
    layout = Layout(names, ("a",) * 60 + ("b",) * 40, ("test",) * 20 + ("train",) * 80)
    chosen = choose_examples(layout, each=4)
    assert chosen == {"a": ("025", "035", "045", "055"), "b": ("065", "075", "085", "095")}
    assert list(choose_examples(layout, classes=1)) == ["a"]


def test_examples_without_splits_and_classes():
    assert choose_examples(Layout(("1", "2"), (None, None), (None, None))) == {None: ("1", "2")}


def test_thumbnails_are_small_and_leave_out_what_cannot_be_read(tmp_path):
    Image.new("RGB", (400, 100)).save(tmp_path / "wide.png")
    Image.new("L", (8, 8)).save(tmp_path / "tiny.png")
    (tmp_path / "bad.png").write_bytes(b"x")
    found = thumbnails(tmp_path, ["wide.png", "tiny.png", "bad.png", "none.png"])
    assert {name: image.size for name, image in found.items()} == {"wide.png": (112, 28), "tiny.png": (8, 8)}
