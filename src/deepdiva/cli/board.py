"""The command `board`: TensorBoard over runs, on this machine only."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from deepdiva.runs.folder import RunFolder

HOST = "127.0.0.1"
# TensorBoard keeps 10 images a tag otherwise, and a sample of the scalars: epochs would vanish.
SAMPLES = "images=1000,scalars=100000"
_PLAIN_NUMBER = 65_535


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "board",
        help="open TensorBoard over runs",
        description="Start TensorBoard on this machine, for all runs or for some. Ctrl-C ends it.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="a run's path, its id or the beginning of it, 'last', or a folder of runs",
    )
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="where the runs are kept (default: runs)")
    parser.add_argument(
        "--port", type=port, default=None, metavar="N", help="0 for any free one (default: 6006 or the next free one)"
    )
    parser.set_defaults(func=show_board)


def port(text: str) -> int:
    """A port number, for argparse."""
    if not text.isdecimal() or int(text) > _PLAIN_NUMBER:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: expected 0 to {_PLAIN_NUMBER}")
    return int(text)


def show_board(arguments: argparse.Namespace) -> int:
    """Serve the chosen runs until Ctrl-C."""
    with log_folder(arguments.runs, Path(arguments.runs_dir)) as folder:
        return _serve(command(folder, arguments.port))


def command(folder: Path, number: int | None) -> list[str]:
    """The words that start TensorBoard."""
    import sys

    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", HOST]
    words += ["--samples_per_plugin", SAMPLES, "--reload_interval", "5"]
    return words if number is None else [*words, "--port", str(number)]


@contextmanager
def log_folder(runs: Sequence[str], runs_dir: Path) -> Iterator[Path]:
    """The folder TensorBoard reads: all runs, new ones included, or links to the chosen ones."""
    import tempfile

    from deepdiva.cli.console import note
    from deepdiva.errors import UserError
    from deepdiva.runs.folder import find_run, find_runs
    from deepdiva.runs.reading import check_folder

    first = Path(runs[0]) if len(runs) == 1 else None
    if first is not None and first.is_dir() and not (first / "run.json").exists():
        if next(find_runs(first), None) is None:
            raise UserError(f"{first} holds no runs", "name a run, or the folder that holds the experiments")
        runs, runs_dir = (), first
    chosen = [find_run(text, runs_dir) for text in dict.fromkeys(runs)]
    for run in chosen:
        check_folder(run.path)
    if not runs:
        if not runs_dir.is_dir():
            raise UserError(f"there is no folder {runs_dir}", "start a run first, or name the folder with --runs-dir")
        chosen, left_out = _sound(find_runs(runs_dir))
        if not left_out:
            yield runs_dir
            return
        note("\n".join(f"left out, with runs that start from now on: {reason}" for reason in left_out), style="yellow")
    with tempfile.TemporaryDirectory(prefix="deepdiva-board-") as name:
        _link(chosen, Path(name))
        yield Path(name)


def _sound(runs: Iterable[RunFolder]) -> tuple[list[RunFolder], list[str]]:
    """The runs that may be shown, and of the others why not: TensorBoard would follow a link, or wait at a pipe."""
    from deepdiva.cli.console import printable
    from deepdiva.errors import UserError
    from deepdiva.runs.reading import check_folder

    sound, left_out = [], []
    for run in runs:
        try:
            if run.record.get("status") == "unreadable":
                raise UserError(str(run.record["error"]["message"]).partition("\n")[0])
            check_folder(run.path)
            sound.append(run)
        except UserError as error:
            left_out.append(printable(error.message))
    return sound, left_out


def _link(chosen: Sequence[RunFolder], folder: Path) -> None:
    """Links to the TensorBoard files of some runs."""
    from deepdiva.cli.console import note
    from deepdiva.errors import UserError

    with_files = [run for run in chosen if (run.path / "tensorboard").is_dir()]
    for run in chosen:
        if run not in with_files:
            note(f"run {run.id} keeps no TensorBoard files", style="yellow")
    if not with_files:
        raise UserError("none of these runs keeps TensorBoard files", "they were made with logging.tensorboard off")
    for run in with_files:
        link = folder / run.experiment / run.id
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((run.path / "tensorboard").resolve(), target_is_directory=True)


def _serve(words: Sequence[str]) -> int:
    """Run TensorBoard, say its address as soon as it has one, and end it with this process."""
    import importlib.util
    import os
    import signal
    import subprocess

    from deepdiva.errors import UserError

    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("TensorBoard is not installed", "`deepdiva doctor` says how to mend the installation")
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, errors="replace", env=environment) as server:
        before = signal.signal(signal.SIGTERM, _interrupt)  # TensorBoard must not outlive this process
        try:
            return _follow(server)
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGTERM, before)
            server.terminate()


def _follow(server: subprocess.Popen[str]) -> int:
    """Wait for the server; what it says is shown only when it ends by itself."""
    import re

    from deepdiva.cli.console import note, say

    said = []
    for line in server.stderr or ():
        address = re.search(r"https?://\S+", line) if line.startswith("TensorBoard ") else None
        if address is not None:
            say(f"TensorBoard: {address[0]}")
            note("Ctrl-C ends it", style="dim")
        said.append(line.rstrip())
    code = server.wait()
    if code != 0:
        note("\n".join(line for line in said[-10:] if line), style="red")
    return 1 if code else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
