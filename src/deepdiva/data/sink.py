"""Takes decoded images in their order: writes them into the cache, counts their levels and notes their sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from deepdiva.data import cache
from deepdiva.data.decode import Pixels
from deepdiva.data.draft import Draft
from deepdiva.data.files import printable, reason
from deepdiva.data.statistics import pixel_histogram
from deepdiva.errors import Problem, UserError, UserErrors

CachePolicy: TypeAlias = Literal["auto", "always", "none"]
Rows: TypeAlias = npt.NDArray[np.int64]
Histogram: TypeAlias = npt.NDArray[np.int64]


class Sink:
    """What becomes of decoded images.

    Args:
        names: Their files, in order.
        counted: Places of those whose levels are counted.
        policy: Whether they are kept; see `read_images`.
    """

    def __init__(self, names: Sequence[str], counted: Rows, policy: CachePolicy) -> None:
        self.names = names
        self.policy = policy
        self.draft: Draft | None = None
        self.is_kept = policy != "none"
        self.counted = np.zeros(len(names), dtype=bool)
        self.counted[counted] = True
        self.has_colours = np.zeros(len(names), dtype=bool)
        self.sizes: dict[tuple[int, int], str] = {}
        self.gray = np.zeros((1, 256), dtype=np.int64)
        self.colour = np.zeros((3, 256), dtype=np.int64)

    def take(self, start: int, images: list[Pixels]) -> None:
        """Images from the place `start` on."""
        while images:
            alike = 1
            while alike < len(images) and images[alike].shape == images[0].shape:
                alike += 1
            self._take_alike(start, images[:alike])
            start, images = start + alike, images[alike:]

    def _take_alike(self, start: int, images: list[Pixels]) -> None:
        end, coloured = start + len(images), images[0].ndim == 3
        height, width = images[0].shape[:2]
        if (height, width) not in self.sizes:
            self.sizes[height, width] = self.names[start]
            self._begin((height, width), colour=coloured)
        self.has_colours[start:end] = coloured
        planes = np.empty((len(images), 3 if coloured else 1, height, width), dtype=np.uint8)
        for plane, image in zip(planes, images, strict=True):
            plane[:] = image.transpose(2, 0, 1) if coloured else image
        chosen = self.counted[start:end]
        histogram = pixel_histogram(planes if chosen.all() else planes[chosen])
        if coloured:
            self.colour += histogram
        else:
            self.gray += histogram
        if self.draft is not None:
            with self._kept_or_not():
                self.draft.add(planes)

    def finish(self) -> tuple[int, int, int]:
        """Ends what is kept, and gives the shape of every image."""
        _check_sizes(self.sizes)
        ((height, width),) = self.sizes
        if self.has_colours.any() and not self.has_colours.all() and self.draft is not None:
            with self._kept_or_not():
                self._require_room(3 * len(self.names) * height * width)
                if self.draft is not None:
                    self.draft.rewrite(lambda pixels: self._coloured(pixels, height, width))
        return (3 if self.has_colours.any() else 1), height, width

    @property
    def histogram(self) -> Histogram:
        """Levels of the counted images, (C, 256); gray ones count in every channel where there are colours."""
        return self.colour + self.gray if self.has_colours.any() else self.gray

    def close(self) -> None:
        """Removes what was not published."""
        if self.draft is not None:
            self.draft.close()

    def _begin(self, size: tuple[int, int], *, colour: bool) -> None:
        """At the first image: whether all of them can be kept. At one of another size: nothing more is kept."""
        if len(self.sizes) > 1:
            self._give_up()
        elif self.is_kept:
            with self._kept_or_not():
                self._require_room(len(self.names) * size[0] * size[1] * (3 if colour else 1))
                if self.is_kept:
                    self.draft = Draft()

    def _require_room(self, needed: int) -> None:
        if cache.make_room(needed):
            return
        if self.policy == "always":
            size = f"{needed / 1e9:.2f} GB"
            hint = "set cache_limit in settings.toml, free some disk, or use --cache auto"
            raise UserError(f"the decoded images take {size}, for which the cache has no room", hint)
        self._give_up()

    def _kept_or_not(self) -> _Refusals:
        return _Refusals(self)

    def _give_up(self) -> None:
        self.close()
        self.draft, self.is_kept = None, False

    def _coloured(self, pixels: Pixels, height: int, width: int) -> Iterator[Pixels]:
        place, plane = 0, height * width
        for coloured in self.has_colours.tolist():
            image = pixels[place : place + plane * (3 if coloured else 1)]
            yield image if coloured else np.tile(image, 3)
            place += len(image)


class _Refusals:
    """What to do when the disk refuses: give up keeping the images, or with `always` the run."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, OSError):
            return False
        if self._sink.policy == "always":
            hint = "free some disk, or use --cache auto"
            raise UserError(f"the cache of decoded images cannot be written: {reason(error)}", hint) from error
        self._sink._give_up()
        return True


def _check_sizes(examples: dict[tuple[int, int], str]) -> None:
    if len(examples) > 1:
        (small, one), (large, other) = min(examples.items()), max(examples.items())
        hint = f"bring all to one size, such as --size {max(large)}"
        raise UserErrors(
            [
                Problem(f"{small[0]} x {small[1]} (height x width)", printable(one)),
                Problem(f"{large[0]} x {large[1]}", printable(other), hint),
            ],
            f"images have {len(examples)} different sizes, among them",
        )
