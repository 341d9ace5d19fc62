"""TensorBoard's view of a run: a mirror of its events and figures that can be rebuilt at will."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.runs.event_file import encode_scalars, encode_value, opening
from deepdiva.runs.lines import read_lines
from deepdiva.runs.storage import Storage

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # colour type of a PNG → channels
_BLOCK = 10_000


class Mirror:
    """Writes the event file of one run; what is logged reaches the disk within a few seconds.

    Args:
        folder: The run's `tensorboard/`; made by the first flush.
        storage: Where changes go.
        flush_seconds: What is logged waits in memory at most until the first call after this time.
    """

    def __init__(self, folder: Path, storage: Storage | None = None, *, flush_seconds: float = 5.0) -> None:
        self._folder = folder
        self._storage = storage or Storage()
        self._flush_seconds = flush_seconds
        self._flushed = time.monotonic()
        self._scalars: list[Mapping[str, Any]] = []
        self._others: list[bytes] = []
        self._path: Path | None = None
        self._size = 0

    def scalars(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take events as the run logs them: `{"step", "epoch", "values": {tag: float}, "time"}`."""
        self._scalars += events
        self._flush_by_clock()

    def image(self, tag: str, step: int, png: bytes, *, wall_time: float | None = None) -> None:
        """Take a picture in PNG form."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height, _, colour = struct.unpack(">IIBB", png[16:26])
        image = Summary.Image(height=height, width=width, colorspace=_CHANNELS[colour], encoded_image_string=png)
        self._add(Summary.Value(tag=tag, image=image), step=step, wall_time=wall_time)

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Take a text in Markdown."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        self._add(Summary.Value(tag=tag, metadata=metadata, tensor=tensor), step=step)

    def hparams(self, settings: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Take the settings of the run, flat, and the tags that tell how good it was, for the table of runs."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.plugins.hparams import api_pb2 as api
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

        experiment = api.Experiment(
            hparam_infos=[api.HParamInfo(name=name, type=_hparam(value)[0]) for name, value in settings.items()],
            metric_infos=[api.MetricInfo(name=api.MetricName(tag=tag)) for tag in metrics],
        )
        start = SessionStartInfo()
        for name, value in settings.items():
            _, key, plain = _hparam(value)
            setattr(start.hparams[name], key, plain)
        parts = {
            "experiment": HParamsPluginData(experiment=experiment),
            "session_start_info": HParamsPluginData(session_start_info=start),
            "session_end_info": HParamsPluginData(session_end_info=SessionEndInfo(status=api.STATUS_SUCCESS)),
        }
        for name, part in parts.items():
            data = SummaryMetadata.PluginData(plugin_name="hparams", content=part.SerializeToString())
            self._add(Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=data)), step=0)

    def flush(self) -> None:
        """Hand everything to the operating system: TensorBoard sees it, and it survives a kill of this process."""
        self._flushed = time.monotonic()
        if not self._scalars and not self._others:
            return
        data = encode_scalars(self._scalars) + b"".join(self._others)
        if self._path is None:
            self._storage.make_directory(self._folder)
            self._path, data = self._folder / _next_name(self._folder), opening() + data
        self._storage.append(self._path, data, at=self._size)
        self._size += len(data)
        self._scalars, self._others = [], []

    def _flush_by_clock(self) -> None:
        if time.monotonic() - self._flushed > self._flush_seconds:
            self.flush()

    def _add(self, value: Summary.Value, *, step: int, wall_time: float | None = None) -> None:
        now = time.time() if wall_time is None else wall_time
        self._others.append(encode_value(value, step=step, wall_time=now))
        self._flush_by_clock()


def rebuild(run: Path, storage: Storage | None = None) -> Mirror:
    """Write the mirror of a run folder anew from its events and figures; gives it open, to be continued."""
    storage = storage or Storage()
    folder = run / "tensorboard"
    old = list(folder.glob("events.out.tfevents.*"))
    mirror = Mirror(folder, storage)
    block: list[Mapping[str, Any]] = []
    last = 0
    for event in read_lines(run / "events.jsonl"):
        last = max(last, event["step"])
        block.append(event)
        if len(block) == _BLOCK:
            mirror.scalars(block)
            mirror.flush()
            block = []
    mirror.scalars(block)
    for path in sorted((run / "figures").rglob("[0-9]*.png")):
        if int(path.stem) <= last:  # those of a resumed run that lie behind its logs will be drawn again
            tag = path.parent.relative_to(run / "figures").as_posix()
            mirror.image(tag, int(path.stem), path.read_bytes(), wall_time=path.stat().st_mtime)
    mirror.flush()
    for path in old:  # emptied and not removed: a TensorBoard that reads one would never get to the next
        storage.truncate(path, 0)
    return mirror


def _hparam(value: Any) -> tuple[str, str, Any]:
    """The type of a setting, which key of the message takes it, and in what form."""
    if isinstance(value, bool):
        return "DATA_TYPE_BOOL", "bool_value", value
    if isinstance(value, int | float):
        return "DATA_TYPE_FLOAT64", "number_value", value
    return "DATA_TYPE_STRING", "string_value", str(value)


def _next_name(folder: Path) -> str:
    """A name behind those that are there: TensorBoard reads the files of a folder in the order of their names."""
    taken = [path.name for path in folder.glob("events.out.tfevents.*")]
    newest = max((int(name.split(".")[3]) for name in taken), default=0)
    return f"events.out.tfevents.{max(int(time.time()), newest + 1):010d}.{os.uname().nodename}.{os.getpid()}.0"
