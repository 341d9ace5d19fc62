"""What a training would find around it: the environment and the arithmetic of a fresh process, before it trains."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.errors import UserError

if TYPE_CHECKING:
    from deepdiva.experiments.fresh import Request

_REFUSAL = "refusal.json"
_SHOWN = 20  # last lines of a process that broke down


def survey(request: Request, destination: Path) -> None:
    """Writes into `destination` what a run of `request` would record in its `environment/`; nothing is trained.

    It is found by a process with the same interpreter, variables, folders and threads as the one that will train.

    Args:
        request: What is going to be trained.
        destination: An existing folder.

    Raises:
        UserError: That process cannot be had: no such device, a package is missing.
    """
    from deepdiva.experiments.fresh import environment

    done = subprocess.run(
        [request.python, "-m", "deepdiva.experiments.surroundings", str(destination)],
        input=json.dumps(asdict(request)).encode(),
        cwd=request.directory,
        env=environment(request),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    refusal = destination / _REFUSAL
    if refusal.is_file():
        raise UserError(*json.loads(refusal.read_bytes()))
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").splitlines()[-_SHOWN:]
        error = UserError(f"{request.python} cannot be used: it ended with exit code {done.returncode}")
        error.add_note("\n".join(["its last lines:", *(f"    {line}" for line in lines)]))
        raise error


def record(request: Request, destination: Path) -> None:
    """What the process of `survey` does: sets itself up as for the training, and records what is there."""
    from deepdiva.engine import determinism, numerics
    from deepdiva.engine.device import find_device
    from deepdiva.runs import environment

    level, threads = str(request.config.get("determinism", "invariant")), request.config.get("threads")
    granted = determinism.apply(level, threads)
    device = find_device(str(request.config.get("device", "auto")))
    environment.capture(destination, determinism=granted.to_mapping())
    (destination / "numerics.json").write_text(numerics.fingerprint(device).to_text(), encoding="utf-8")


def _serve(destination: Path) -> int:
    from deepdiva.experiments.fresh import Request

    try:
        record(Request(**json.loads(sys.stdin.buffer.read())), destination)
    except UserError as error:
        (destination / _REFUSAL).write_text(json.dumps([error.message, error.hint]), encoding="utf-8")
        return error.exit_code
    return 0


if __name__ == "__main__":
    gc.disable()  # collecting while the libraries load takes a second or two
    sys.exit(_serve(Path(sys.argv[1])))
