"""The mirror: TensorBoard itself reads it, live, after a resume, and rebuilt from events and figures."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from deepdiva.runs.lines import LineLog
from deepdiva.runs.tensorboard import Mirror, rebuild

EVENTS = [
    {
        "step": step,
        "epoch": step // 10,
        "values": {"train/loss": 1 / (step + 1), "val/acc": step / 64},
        "time": 1e9 + step,
    }
    for step in range(64)
]


def read(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return accumulator.Reload()


def png(mode="RGB", size=(7, 5)):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


def test_scalars(tmp_path):
    mirror = Mirror(tmp_path / "tensorboard")
    mirror.scalars(EVENTS)
    mirror.flush()
    board = read(tmp_path / "tensorboard")
    assert board.Tags()["scalars"] == ["train/loss", "val/acc"]
    points = board.Scalars("train/loss")
    assert [(point.step, point.wall_time) for point in points] == [(event["step"], event["time"]) for event in EVENTS]
    assert [point.value for point in points] == pytest.approx([event["values"]["train/loss"] for event in EVENTS])


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("LA", 2), ("P", 3), ("1", 1)])
def test_images(tmp_path, mode, channels):
    mirror = Mirror(tmp_path)
    mirror.image("val/confusion", 12, png(mode), wall_time=5.0)
    mirror.flush()
    (path,) = tmp_path.glob("events*")
    (value,) = list(LegacyEventFileLoader(str(path)).Load())[-1].summary.value
    assert value.image.colorspace == channels
    (image,) = read(tmp_path).Images("val/confusion")
    assert (image.step, image.wall_time, image.width, image.height) == (12, 5.0, 7, 5)
    assert image.encoded_image_string == png(mode)


def test_text(tmp_path):
    mirror = Mirror(tmp_path)
    mirror.text("config", "**bold** ü")
    mirror.flush()
    (text,) = read(tmp_path).Tensors("config")
    assert text.tensor_proto.string_val[0].decode() == "**bold** ü"
    assert read(tmp_path).SummaryMetadata("config").plugin_data.plugin_name == "text"


def test_hparams(tmp_path):
    mirror = Mirror(tmp_path)
    mirror.hparams({"lr": 0.1, "epochs": 3, "deep": True, "model": None}, ["test/accuracy"])
    mirror.flush()
    parts = read(tmp_path).PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(parts["_hparams_/session_start_info"]).session_start_info
    assert start.hparams["lr"].number_value == 0.1
    assert start.hparams["epochs"].number_value == 3
    assert start.hparams["deep"].bool_value
    assert start.hparams["model"].string_value == "None"
    experiment = HParamsPluginData.FromString(parts["_hparams_/experiment"]).experiment
    assert [info.type for info in experiment.hparam_infos] == [3, 3, 2, 1]
    assert [info.name.tag for info in experiment.metric_infos] == ["test/accuracy"]


def test_what_is_logged_appears_while_the_run_goes_on(tmp_path):
    mirror = Mirror(tmp_path, flush_seconds=-1)
    board = read(tmp_path)
    for count in (1, 2, 3):
        mirror.scalars([EVENTS[count - 1]])
        assert len(board.Reload().Scalars("train/loss")) == count
    patient = Mirror(tmp_path / "patient", flush_seconds=1000)
    patient.scalars(EVENTS)
    assert not (tmp_path / "patient").exists()


def test_nothing_logged_is_no_file(tmp_path):
    Mirror(tmp_path / "tensorboard").flush()
    assert not (tmp_path / "tensorboard").exists()


def fill(run, count):
    log = LineLog(run / "events.jsonl")
    log.append(EVENTS[:count])
    log.flush()
    for step in (0, 20, 40):
        path = run / "figures" / "val" / "confusion" / f"{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())


def test_rebuilt_from_the_run_folder(tmp_path):
    fill(tmp_path, 30)
    mirror = rebuild(tmp_path)
    mirror.scalars(EVENTS[30:40])
    mirror.flush()
    board = read(tmp_path / "tensorboard")
    assert [point.step for point in board.Scalars("val/acc")] == list(range(40))
    assert [image.step for image in board.Images("val/confusion")] == [0, 20]


def test_a_tensorboard_that_is_open_forgets_what_a_resume_cuts_off(tmp_path):
    live = Mirror(tmp_path / "tensorboard")
    live.scalars(EVENTS[:50])
    live.flush()
    board = read(tmp_path / "tensorboard")
    assert len(board.Scalars("val/acc")) == 50
    fill(tmp_path, 30)
    for _ in range(2):
        mirror = rebuild(tmp_path)
        mirror.scalars(EVENTS[30:])
        mirror.flush()
        assert [point.step for point in board.Reload().Scalars("val/acc")] == list(range(64))
    assert [point.step for point in read(tmp_path / "tensorboard").Scalars("val/acc")] == list(range(64))
    assert [image.step for image in read(tmp_path / "tensorboard").Images("val/confusion")] == [0, 20]
