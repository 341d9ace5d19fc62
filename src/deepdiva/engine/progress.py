"""What a person sees of a training: one line an epoch, and on a terminal a bar that moves by the clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_REFRESH_SECONDS = 0.1


class Progress(Protocol):
    """What the loop tells whoever watches; none of it may change the training."""

    def started(self, *, epochs: int, steps_per_epoch: int) -> None:
        """The training begins."""

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        """`done` steps of this epoch are finished."""

    def line(self, text: str) -> None:
        """Something to read, such as the numbers of an epoch."""

    def finished(self) -> None:
        """The training has ended, for whatever reason."""


class SilentProgress:
    """Shows nothing."""

    def started(self, *, epochs: int, steps_per_epoch: int) -> None:
        """Nothing."""

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def finished(self) -> None:
        """Nothing."""


class RecordedProgress:
    """Shows everything to a watcher, and keeps the lines.

    Args:
        watcher: Whoever watches.
        keep: Gets every line; a run's `print_log`.
    """

    def __init__(self, watcher: Progress, keep: Callable[[str], None]) -> None:
        self._watcher = watcher
        self._keep = keep

    def started(self, *, epochs: int, steps_per_epoch: int) -> None:
        """Passes it on."""
        self._watcher.started(epochs=epochs, steps_per_epoch=steps_per_epoch)

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        """Passes it on."""
        self._watcher.step(epoch, done, loss)

    def line(self, text: str) -> None:
        """Passes it on and keeps it."""
        self._watcher.line(text)
        self._keep(text)

    def finished(self) -> None:
        """Passes it on."""
        self._watcher.finished()


class ConsoleProgress:
    """Lines on standard error; on a terminal a bar below them, redrawn at most ten times a second."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._per_epoch = 1
        self._drawn = 0.0

    def started(self, *, epochs: int, steps_per_epoch: int) -> None:
        """Puts up the bar where there is a terminal."""
        self._per_epoch = steps_per_epoch
        if not self._stream.isatty() or epochs == 0:
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=epochs * steps_per_epoch, epoch=1, epochs=epochs, loss="")
        self._bar.start()

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        """Moves the bar, unless it moved a moment ago."""
        if self._bar is None or self._task is None or time.monotonic() - self._drawn < _REFRESH_SECONDS:
            return
        self._drawn = time.monotonic()
        shown = "" if loss is None else f"loss {loss:.4f}"
        self._bar.update(self._task, completed=(epoch - 1) * self._per_epoch + done, epoch=epoch, loss=shown)
        self._bar.refresh()

    def line(self, text: str) -> None:
        """Writes a line above the bar."""
        if self._bar is not None:
            # Unbroken, so that a path or command in it can be copied.
            self._bar.console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def finished(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def describe(values: Mapping[str, Any]) -> str:
    """`loss 0.0123  accuracy  98.75 %`: numbers as people write them, in columns that stay below one another."""
    shown = {name: number(name, value) for name, value in values.items()}
    return "  ".join(f"{name} {text:>{8 if '%' in text else 6}}" for name, text in shown.items())


def number(name: str, value: float) -> str:
    """One number: shares in percent, the rest with four significant digits."""
    shares = ("accuracy", "precision", "recall", "f1")
    if any(share in name for share in shares):
        return f"{100 * value:.2f} %"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}"
