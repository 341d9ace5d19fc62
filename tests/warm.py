"""Many commands, one loading of the libraries: each is forked from a process that has loaded them and done no more.

Starting `deepdiva run` takes five seconds of which a small training is a tenth. `Warm` starts this file as a server and
gives a folder with a program `deepdiva` that hands its words, folder, environment and streams to a fork of the server.
What only a process of its own can show (variables that must be there before a library loads, another order of hashes)
is tested with the real program.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    "torch._dynamo",
    "torch._inductor.config",
    "torchvision.transforms.v2",
    "sklearn.datasets",
    "sklearn.metrics",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "deepdiva.cli.main",
    "deepdiva.experiments.train",
    "deepdiva.engine.trainer",
)
# What begins like this is read when a library, or Python itself, is loaded.
READ_ON_LOADING = ("ATEN_", "CU", "DEEPDIVA_", "GLIBC_", "KMP_", "LD_", "MALLOC_", "MKL_", "MPL", "NPY_", "OMP_")
READ_ON_LOADING += ("ONEDNN_", "OPENBLAS_", "PYTHON", "TORCH")
# Set by libraries that load, or heeded by a fork too.
NOT_COMPARED = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR", "DEEPDIVA_REEXECUTED"}
NOT_COMPARED |= {"PYTHONDONTWRITEBYTECODE"}
# The same words to a fork: nothing is imported but what talks to a socket.
CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = json.dumps(dict(words=[sys.argv[0], *sys.argv[1:]], folder=os.getcwd(), environment=dict(os.environ))).encode()
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
server.sendmsg([len(order).to_bytes(8, "big")], streams)
server.sendall(order)
answers = server.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: os.kill(process, number))
code = int(answers.readline())
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Warm:
    """A server and the folder with the programs that are its clients; they end with `close`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="deepdiva-tests-"))
        address = str(self._folder / "socket")
        self._server = subprocess.Popen(
            [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.programs = self._folder / "bin"
        self.programs.mkdir()
        for program in ("deepdiva", "python"):
            path = self.programs / program
            path.write_text(CLIENT.format(python=sys.executable, address=address))
            path.chmod(0o755)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """Ends the server; no end of a pipe is waited for, since whatever was forked meanwhile may hold the other."""
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            assert pipe is not None
            pipe.close()
        shutil.rmtree(self._folder)


def serve(address: str) -> None:
    """Forks one process for each client that connects."""
    loaded_with = _read_on_loading(os.environ)  # torch sets some of its own
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how those that wait have ended
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print("ready", flush=True)
        while True:
            if sys.stdin in select.select([door, sys.stdin], [], [])[0]:
                return  # nothing is sent: whoever started this has ended
            client, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _keep(client, loaded_with)
            client.close()


def _keep(client: socket.socket, loaded_with: Mapping[str, str]) -> NoReturn:
    """Begins a command and tells the client how it ends; a client that is gone takes its command with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(client, 8, 3)
    with client.makefile("rb") as reader:
        order = json.loads(reader.read(int.from_bytes(head, "big")))
    process = os.fork()
    if process == 0:
        client.close()
        _become(order, streams, loaded_with)
    for stream in streams:
        os.close(stream)

    def watch() -> None:
        client.recv(1)  # nothing is sent: it returns when the client has ended
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        client.sendall(b"%d\n" % process)
        client.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os._exit(0)


def _become(order: dict[str, Any], streams: list[int], loaded_with: Mapping[str, str]) -> NoReturn:
    """Is the command from here on: the same as if the real program had been executed."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.setsid()
    os.chdir(order["folder"])
    here, *words = order["words"]
    real = str(Path(sys.executable).with_name(Path(here).name))
    is_known = Path(here).name == "deepdiva" or words[:1] in (["-c"], ["-m"])
    if not is_known or _read_on_loading(order["environment"]) != loaded_with:
        os.execve(real, [real, *words], order["environment"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    random.seed()
    code: object = 0
    try:
        _run(here, real, words)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _run(here: str, real: str, words: list[str]) -> None:
    """What the interpreter does with these words."""
    python = sys.executable
    sys.executable = str(Path(here).with_name("python"))  # the processes that this one starts are forked as well
    if Path(here).name == "deepdiva":
        sys.orig_argv, sys.argv, sys.path[0] = [python, real, *words], [real, *words], str(Path(real).parent)
        from deepdiva.cli.main import entry

        entry()
    sys.orig_argv = [python, *words]
    option, what, *rest = words
    if option == "-c":
        sys.argv, sys.path[0] = [option, *rest], ""
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        return
    sys.argv, sys.path[0] = [what, *rest], str(Path.cwd())
    sys.modules.pop(what, None)
    runpy.run_module(what, run_name="__main__", alter_sys=True)


def _read_on_loading(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_ON_LOADING) and name not in NOT_COMPARED
    }


if __name__ == "__main__":
    from deepdiva.engine import determinism

    determinism.prepare("invariant")
    serve(sys.argv[1])
