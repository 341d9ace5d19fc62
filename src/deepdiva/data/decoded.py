"""All images of a data set, decoded: from the cache, into the cache, or only looked through where they stay outside."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from deepdiva.data import cache, facts
from deepdiva.data.decode import Decoding, ImageError, Pixels, decoder
from deepdiva.data.draft import building
from deepdiva.data.files import in_threads, printable, reason, to_errors
from deepdiva.data.footprint import Footprint, Recorder
from deepdiva.data.sink import CachePolicy, Histogram, Rows, Sink
from deepdiva.data.statistics import pixel_histogram
from deepdiva.errors import Problem

SCHEMA = 1
CHUNK = 32


@dataclass(frozen=True)
class Decoded:
    """What is known of all images, and the images where they are kept.

    Args:
        names: Their files, in order.
        shape: (C, H, W) of each.
        pixels: All of them, (N, C, H, W), mapped from the cache; None where they are to be decoded when needed.
        histogram: Levels of those that were to be counted, (C, 256).
        proof: The footprint of the data set.
    """

    names: tuple[str, ...]
    shape: tuple[int, int, int]
    pixels: Pixels | None
    histogram: Histogram
    proof: Footprint


def read_images(
    recorder: Recorder,
    names: Sequence[str],
    decoding: Decoding,
    *,
    counted: Rows,
    policy: CachePolicy = "auto",
    threads: int | None = None,
) -> Decoded:
    """The images called `names`, decoded once for this and all later runs; files are read once, or not at all.

    The cache is asked by the data set's footprint, the names, the decoding and the decoder. Where this machine
    remembers all files no image is read to know the footprint.

    Args:
        recorder: Reads the data set.
        names: The images, in an order that the data set alone decides.
        decoding: How they are decoded.
        counted: Places of the images whose levels are counted: those of training.
        policy: `auto` keeps the images where the limit of the cache and the disk allow it, `always` refuses to go on
            otherwise, `none` never keeps them.
        threads: How many decode at the same time; None takes as many as there are cores.

    Raises:
        UserErrors: Files that cannot be used, all of them; or images of different sizes.
        UserError: The images cannot be kept, and `policy` is `always`.
    """
    request = _Request(recorder, tuple(names), decoding, counted, policy, threads)
    found = request.look_up()
    if found is not None:
        return found
    with building(request.lock):
        return request.look_up() or request.decode()


class _Request:
    """One call of `read_images`."""

    def __init__(
        self,
        recorder: Recorder,
        names: tuple[str, ...],
        decoding: Decoding,
        counted: Rows,
        policy: CachePolicy,
        threads: int | None,
    ) -> None:
        self.recorder, self.names, self.decoding = recorder, names, decoding
        self.counted, self.policy, self.threads = counted, policy, threads
        self.how = json.dumps([decoding.channels, decoding.size, decoder()])
        listed = "\0".join(names).encode("utf-8", "surrogateescape")
        self.identity = _digest(f"{SCHEMA} {self.how} ".encode(), listed)
        self.lock = _digest(self.identity.encode(), os.fsencode(os.path.realpath(recorder.path)))

    def look_up(self) -> Decoded | None:
        """The images where they were decoded before."""
        proof = self.recorder.known()
        if proof is None and self._may_be_known():
            proof = self.recorder.finish()
        if proof is None:
            return None
        key = self._key(proof)
        opened = cache.open_entry(key) if self.policy != "none" else None
        if opened is not None and opened[0].shape[0] == len(self.names):
            return self._decoded(opened[1], proof)
        known = facts.load(key)
        histogram = None if known is None else known.histogram(self.counted)
        if known is None or histogram is None or self._is_wanted(known.shape):
            return None
        return Decoded(self.names, known.shape, None, histogram, proof)

    def decode(self) -> Decoded:
        """Decodes all images, keeping them where that is wanted and possible."""
        sink = Sink(self.names, self.counted, self.policy)
        problems = [trouble.problem for trouble in self.recorder.troubles]
        try:
            for start, results in self._results():
                problems += [item for item in results if isinstance(item, Problem)]
                if not problems:
                    sink.take(start, [item for item in results if not isinstance(item, Problem)])
            if problems:
                count = "1 file" if len(problems) == 1 else f"{len(problems)} files"
                where = printable(os.fspath(self.recorder.path))
                raise to_errors(problems, f"{count} in {where} cannot be used")
            shape = sink.finish()
            proof = self.recorder.finish()
            key = self._key(proof)
            facts.save(key, shape, self.counted, sink.histogram)
            if sink.draft is not None:
                size = (len(self.names), *shape)
                sink.draft.publish(key, source=proof.source, root=proof.root, shape=size, decoding=self.how)
        finally:
            sink.close()
        opened = cache.open_entry(key) if sink.is_kept else None
        return Decoded(self.names, shape, None if opened is None else opened[1], sink.histogram, proof)

    def _decoded(self, pixels: Pixels, proof: Footprint) -> Decoded:
        key = self._key(proof)
        known = facts.load(key)
        histogram = None if known is None else known.histogram(self.counted)
        channels, height, width = pixels.shape[1:]
        if histogram is None:
            histogram = sum(
                (pixel_histogram(pixels[self.counted[start : start + CHUNK]]) for start in _starts(self.counted)),
                np.zeros((channels, 256), dtype=np.int64),
            )
            facts.save(key, (channels, height, width), self.counted, histogram)
        return Decoded(self.names, (channels, height, width), pixels, histogram, proof)

    def _key(self, proof: Footprint) -> str:
        return f"{self.identity}-{proof.root[:32]}"

    def _may_be_known(self) -> bool:
        """Whether images of these names were decoded like this before: then it is worth taking the footprint first."""
        return any(entry.key.startswith(self.identity) for entry in cache.entries()) or facts.exists(self.identity)

    def _is_wanted(self, shape: tuple[int, int, int]) -> bool:
        """Whether the images should be decoded into the cache although they are known."""
        if self.policy == "auto":
            with suppress(OSError):
                return cache.make_room(len(self.names) * shape[0] * shape[1] * shape[2])
        return self.policy == "always"

    def _results(self) -> Iterator[tuple[int, list[Pixels | Problem]]]:
        chunks = [self.names[start : start + CHUNK] for start in _starts(self.names)]
        start = 0
        for results in in_threads(_worker(self.recorder, self.decoding), chunks, threads=self.threads):
            yield start, results
            start += len(results)


def _worker(recorder: Recorder, decoding: Decoding) -> Callable[[Sequence[str]], list[Pixels | Problem]]:
    def decode(names: Sequence[str]) -> list[Pixels | Problem]:
        results: list[Pixels | Problem] = []
        for name in names:
            try:
                results.append(decoding.decode(recorder.read(name)))
            except OSError as error:
                results.append(Problem(f"cannot be read: {reason(error)}", printable(name)))
            except ImageError as error:
                results.append(Problem(str(error), printable(name)))
        return results

    return decode


def _starts(items: Sequence[object] | Rows) -> range:
    return range(0, len(items), CHUNK)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]
