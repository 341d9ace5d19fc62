"""Trains in a fresh Python process: what a reproduction, a rerun or a replay shares with nobody.

The request goes to the process on its standard input, as JSON; the answer comes back in a file. The process ends by
itself, at the end of a step and with a checkpoint, when the one that started it is gone.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.engine import determinism
from deepdiva.engine.progress import Progress, SilentProgress
from deepdiva.errors import Problem, RunFailed, UserError, UserErrors
from deepdiva.runs.folder import RunFolder

if TYPE_CHECKING:
    from deepdiva.experiments.data_proof import DataProof

_PATIENCE = 60.0  # seconds that an interrupted process has to end its step
_ASKED_EVERY = 0.5  # seconds between two questions whether a silent process still lives
_SHOWN = 40  # last lines of a process that broke down


@dataclass(frozen=True)
class Request:
    """What a fresh process is asked to train.

    Args:
        config: A whole configuration: `RunFolder.config()`, with what is to differ replaced.
        directory: Where the process works.
        kind: What the new run is: `reproduction`, `rerun`, `replay`, …
        parent: The id of the run it belongs to.
        code: The `code/` folder of the run whose code lies in `directory`; it is recorded as it stands.
        start: The folder of the checkpoint to begin from.
        until: The last optimizer step; the test split is not read then.
        nudge: The number of a one-ulp perturbation of the initial weights.
        trace: The file for the operations of the step `until`.
        resume: The folder of a run to go on with, instead of a new one; its own configuration counts.
        kill: Optimizer steps after which the process kills itself with SIGKILL, and seconds that it waits before.
        repeats: The run whose data must be met.
        allow_changed_data: Whether other data are recorded instead of refused.
        variables: Environment variables over those of the level and of this process; None takes one away.
        python: The interpreter.
        python_path: Folders that packages are looked for in before all others.
    """

    config: Mapping[str, Any]
    directory: str
    kind: str = "run"
    parent: str | None = None
    code: str | None = None
    start: str | None = None
    until: int | None = None
    nudge: int | None = None
    trace: str | None = None
    resume: str | None = None
    kill: tuple[int, float] | None = None
    repeats: str | None = None
    allow_changed_data: bool = False
    variables: Mapping[str, str | None] = field(default_factory=dict)
    python: str = field(default_factory=lambda: sys.executable)
    python_path: tuple[str, ...] = ()


def train_fresh(request: Request, *, progress: Progress | None = None) -> RunFolder:
    """Trains in a process of its own and gives the finished run.

    Args:
        request: What to train.
        progress: Gets the lines of the process.

    Raises:
        UserError: What the process refused, as it said it.
        RunFailed: The run failed, or the process broke down; the last lines it wrote are a note.
        KeyboardInterrupt: This process, or that one, was interrupted; the run is kept.
    """
    watcher = progress or SilentProgress()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [request.python, "-m", "deepdiva.experiments.fresh", str(answer)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            cwd=request.directory,
            env=environment(request),
            start_new_session=True,  # what it leaves behind can be found
        )
        lines = _converse(process, request, watcher)
        if not answer.exists():
            raise _breakdown(process.returncode, lines)
        return _understood(json.loads(answer.read_bytes()), lines)


def environment(request: Request) -> dict[str, str]:
    """The environment variables of the process: the level's are there before it begins."""
    wanted = determinism.environment_of_new_process(str(request.config.get("determinism", "invariant")))
    if request.python_path:
        wanted["PYTHONPATH"] = os.pathsep.join([*request.python_path, *filter(None, [os.environ.get("PYTHONPATH")])])
    for name, value in request.variables.items():
        if value is None:
            wanted.pop(name, None)
        else:
            wanted[name] = value
    return wanted


def _converse(process: subprocess.Popen[bytes], request: Request, progress: Progress) -> list[str]:
    """Sends the request and passes on what the process writes; gives its last lines."""
    assert process.stdin is not None
    assert process.stdout is not None
    lines: deque[str] = deque(maxlen=_SHOWN)
    try:
        with suppress(BrokenPipeError):  # it broke down before it could read; its lines say why
            process.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
            process.stdin.flush()
        for line in _lines_of(process):
            lines.append(line)
            progress.line(line)
        process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        with suppress(ProcessLookupError, PermissionError):  # macOS has the second one for what is gone
            os.killpg(process.pid, signal.SIGKILL)
    return list(lines)


def _lines_of(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """What the process writes, until it ends: a child of its own that outlives it may hold the pipe open for good."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            has_ended = process.poll() is not None  # asked first: what it wrote before is in the pipe then
            if not selector.select(0 if has_ended else _ASKED_EVERY):
                if has_ended:
                    break
                continue
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            for raw in whole:
                yield raw.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Lets the process end its step and keep a checkpoint."""
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _breakdown(code: int, lines: list[str]) -> RunFailed:
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    error = RunFailed(f"the process that was to train ended {how} before it could answer")
    error.add_note("\n".join(["its last lines:", *(f"    {line}" for line in lines)]))
    return error


def _understood(answer: Mapping[str, Any], lines: list[str]) -> RunFolder:
    """The run, or the error that the process met."""
    if "path" in answer:
        return RunFolder.open(answer["path"])
    kind, notes = answer["error"], answer["notes"]
    error: BaseException
    if kind == "KeyboardInterrupt":
        error = KeyboardInterrupt(*([answer["message"]] if answer["message"] else []))
    elif kind == "UserErrors":
        error = UserErrors([Problem(**problem) for problem in answer["problems"]])
        error.args, error.message, error.hint = (answer["message"],), answer["message"], answer["hint"]
    elif kind in ("UserError", "RunFailed"):
        error = (UserError if kind == "UserError" else RunFailed)(answer["message"], answer["hint"])
    else:
        error = RunFailed(f"the training ended with {kind}: {answer['message']}")
        notes = ["\n".join(["its last lines:", *(f"    {line}" for line in lines)]), *notes]
    for note in notes:
        error.add_note(note)
    raise error


class _Lines(SilentProgress):
    """Writes the lines of a training where the other process reads them, and kills this one when it is told to."""

    def __init__(self, kill: Sequence[float] | None) -> None:
        self._left: int | None = None if kill is None else int(kill[0])
        self._delay = 0.0 if kill is None else kill[1]

    def line(self, text: str) -> None:
        """One line, at once."""
        print(text, file=sys.stderr, flush=True)

    def started(self, *, epochs: int, steps_per_epoch: int) -> None:
        """The training begins: without a step to wait for, the time runs from here."""
        self._kill_at(0)

    def step(self, epoch: int, done: int, loss: float | None) -> None:
        """One step is done."""
        if self._left:
            self._left -= 1
            self._kill_at(0)

    def _kill_at(self, left: int) -> None:
        if self._left == left:
            self._left = None
            timer = threading.Timer(self._delay, os.kill, [os.getpid(), signal.SIGKILL])
            timer.daemon = True
            timer.start()


def serve(answer: Path) -> int:
    """What the fresh process does: reads its request, trains, and writes how that ended into `answer`."""
    request = Request(**json.loads(sys.stdin.buffer.readline()))
    _end_with_the_other()
    try:
        document: dict[str, Any] = {"path": str(_train(request).path.absolute())}
        code = 0
    except BaseException as error:
        document, code = _described(error)
    answer.write_text(json.dumps(document), encoding="utf-8")
    return code


def _train(request: Request) -> RunFolder:
    watcher = _Lines(request.kill)
    if request.resume is not None:
        from deepdiva.experiments.resume import resume

        return resume(request.resume, progress=watcher)
    from deepdiva import tasks
    from deepdiva.config import from_mapping
    from deepdiva.experiments.components import problems_of
    from deepdiva.experiments.excerpt import Excerpt
    from deepdiva.experiments.train import train_resolved

    layer = from_mapping(request.config, f"the configuration of run {request.parent}")
    resolved = tasks.configure(None, layers=[layer], check_components=problems_of)
    return train_resolved(
        resolved,
        command=sys.orig_argv,
        kind=request.kind,
        parent=request.parent,
        progress=watcher,
        proof=_proof(request),
        code=_path(request.code),
        excerpt=Excerpt(_path(request.start), request.until, request.nudge, _path(request.trace)),
    )


def _proof(request: Request) -> DataProof:
    from deepdiva.experiments.data_proof import DataProof

    repeats = None if request.repeats is None else RunFolder.open(request.repeats)
    return DataProof(repeats, allow_changed=request.allow_changed_data)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _described(error: BaseException) -> tuple[dict[str, Any], int]:
    """An error as the other process can raise it again, and the exit code of this one."""
    notes = list(getattr(error, "__notes__", ()))
    document: dict[str, Any] = {"error": type(error).__name__, "message": str(error), "notes": notes, "hint": None}
    if isinstance(error, UserError):
        document |= {"message": error.message, "hint": error.hint}
        document["error"] = "RunFailed" if isinstance(error, RunFailed) else "UserError"
    if isinstance(error, UserErrors):
        document |= {"error": "UserErrors", "problems": [asdict(problem) for problem in error.problems]}
    if isinstance(error, UserError):
        return document, error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return document | {"error": "KeyboardInterrupt"}, 130  # also of the class that names the signal
    import traceback

    error.__notes__ = []
    traceback.print_exception(error)
    return document, 1


def _end_with_the_other() -> None:
    """Interrupts this process, as a scheduler would, when the one that reads its lines is gone."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is sent: it returns when the pipe is closed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    gc.disable()  # collecting while the libraries load takes a second or two; the training collects again
    status = serve(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
