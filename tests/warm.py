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
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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
READ_ON_LOADING = (
    "ATEN_",
    "CU",
    "GLIBC_",
    "KMP_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "MPL",
    "NPY_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
)
READ_ON_LOADING += ("DEEPDIVA_", "PYTHON", "TORCH")
# The same words to a fork: nothing is imported but what talks to a socket.
CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = json.dumps(dict(words=[{program!r}, *sys.argv[1:]], folder=os.getcwd(), environment=dict(os.environ))).encode()
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
server.sendmsg([len(order).to_bytes(8, "big")], streams)
server.sendall(order)
answers = server.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: os.kill(process, number))
code = int(answers.readline())
if code < 0:
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
            [sys.executable, __file__, address], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self.programs = self._folder / "bin"
        self.programs.mkdir()
        for program in ("deepdiva", "python"):
            path = self.programs / program
            path.write_text(CLIENT.format(python=sys.executable, address=address, program=program))
            path.chmod(0o755)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """Ends the server."""
        self._server.kill()
        self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()
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
            client, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _keep(client, loaded_with)
            client.close()


def _keep(client: socket.socket, loaded_with: Mapping[str, str]) -> NoReturn:
    """Begins a command and tells the client how it ends."""
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
    with contextlib.suppress(BrokenPipeError):
        client.sendall(b"%d\n" % process)
        client.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os._exit(0)


def _become(order: dict[str, Any], streams: list[int], loaded_with: Mapping[str, str]) -> NoReturn:
    """Is the command from here on."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    program, *words = order["words"]
    real = str(Path(sys.executable).with_name(program))
    is_unlike_this = _read_on_loading(order["environment"]) != loaded_with
    if is_unlike_this or (program == "python" and words[:1] != ["-c"]):
        os.execve(real, [real, *words], order["environment"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    random.seed()
    sys.orig_argv = [sys.executable, *([real] if program == "deepdiva" else []), *words]
    sys.path[0] = str(Path(real).parent) if program == "deepdiva" else ""
    if program == "deepdiva":
        sys.argv = [real, *words]
        from deepdiva.cli.main import entry

        entry()
    sys.argv = words[:1]
    code = 0
    try:
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _read_on_loading(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_ON_LOADING)}


if __name__ == "__main__":
    from deepdiva.engine import determinism

    determinism.prepare("invariant")
    serve(sys.argv[1])
