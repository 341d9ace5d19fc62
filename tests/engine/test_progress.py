"""What a person sees: plain lines in a file, a bar on a terminal, numbers as people write them."""

from __future__ import annotations

import io

import pytest

from deepdiva.engine.progress import ConsoleProgress, RecordedProgress, SilentProgress, describe, number


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(progress: ConsoleProgress | SilentProgress, *, epochs: int = 2) -> None:
    progress.started(epochs=epochs, steps_per_epoch=10)
    progress.step(1, 5, None)
    progress.step(2, 5, 0.25)
    progress.line("epoch 1: [loss] :smile: /a/path/" + "x" * 200)
    progress.finished()


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_file_gets_lines_only():
    stream = io.StringIO()
    show(ConsoleProgress(stream))
    assert stream.getvalue() == "epoch 1: [loss] :smile: /a/path/" + "x" * 200 + "\n"


def test_a_terminal_gets_a_bar_and_the_lines_unbroken():
    stream = Terminal()
    show(ConsoleProgress(stream))
    assert "epoch 1/2" in stream.getvalue()
    assert "epoch 1: [loss] :smile: /a/path/" + "x" * 200 in stream.getvalue()


def test_the_bar_moves_by_the_clock(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = Terminal()
    progress = ConsoleProgress(stream)
    progress.started(epochs=1, steps_per_epoch=1000)
    sizes = []
    for step in range(1, 31):
        now[0] += 0.01
        progress.step(1, step, 0.5)
        sizes.append(len(stream.getvalue()))
    progress.finished()
    assert len(set(sizes)) <= 5  # thirty steps in 0.3 s: at most ten pictures a second


def test_no_bar_for_no_epochs():
    stream = Terminal()
    ConsoleProgress(stream).started(epochs=0, steps_per_epoch=10)
    assert stream.getvalue() == ""


def test_silence(capsys: pytest.CaptureFixture[str]):
    show(SilentProgress())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.98753, "98.75 %"),
        ("test/macro_f1", 1.0, "100.00 %"),
        ("loss", 0.01234, "0.0123"),
        ("loss", 0.00001234, "1.234e-05"),
        ("loss", 0.0, "0.0000"),
        ("loss", 123456.0, "1.235e+05"),
        ("loss", -2.5, "-2.5000"),
        ("loss", float("nan"), "nan"),
    ],
)
def test_numbers_read_as_people_write_them(name: str, value: float, text: str):
    assert number(name, value) == text


def test_several_numbers_stand_in_one_line():
    assert describe({"loss": 0.5, "accuracy": 0.5}) == "loss 0.5000  accuracy  50.00 %"


def test_what_is_said_is_shown_and_kept():
    shown, kept = Collecting(), []
    progress = RecordedProgress(shown, kept.append)
    progress.started(epochs=1, steps_per_epoch=2)
    progress.step(1, 1, 0.5)
    progress.line("half of it")
    progress.finished()
    assert shown.calls == ["started 1 2", "step 1 1 0.5", "line half of it", "finished"]
    assert kept == ["half of it"]


class Collecting:
    """Notes everything that it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def started(self, *, epochs: int, steps_per_epoch: int) -> None:
        self.calls.append(f"started {epochs} {steps_per_epoch}")

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        self.calls.append(f"step {epoch} {done} {loss}")

    def line(self, text: str) -> None:
        self.calls.append(f"line {text}")

    def finished(self) -> None:
        self.calls.append("finished")
