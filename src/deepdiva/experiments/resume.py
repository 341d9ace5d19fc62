"""Goes on where a run ended, to the same bits as if it had never stopped."""

from __future__ import annotations

from pathlib import Path

from deepdiva import tasks
from deepdiva.config import read_file
from deepdiva.engine import checkpoint, determinism
from deepdiva.engine.device import find_device
from deepdiva.engine.progress import Progress, SilentProgress
from deepdiva.errors import UserError
from deepdiva.experiments.components import problems_of
from deepdiva.experiments.data_proof import DataProof
from deepdiva.experiments.train import execute, say_what_is_granted, what_remains
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.run import Run


def resume(folder: RunFolder | Path | str, *, progress: Progress | None = None) -> RunFolder:
    """Continues an interrupted or failed run from its newest whole checkpoint and gives the finished run.

    The order of the samples and every draw depend on (seed, epoch, step, index) alone, and the logs are cut to where
    the checkpoint was taken: what follows has the same bits as in a run that never stopped.

    Args:
        folder: The run, or its path.
        progress: Whoever watches; nobody by default.

    Raises:
        UserError: The run is still running, is completed, or its configuration or data have changed.
    """
    found = folder if isinstance(folder, RunFolder) else RunFolder.open(folder)
    if found.status == "completed":
        raise UserError(f"run {found.id} is completed", f"its results: `deepdiva runs show {found.id}`")
    watcher = progress or SilentProgress()
    determinism.prepare(str(found.config()["determinism"]))
    resolved = tasks.configure(None, layers=[read_file(found.path / "config.yaml")], check_components=problems_of)
    config = resolved.config
    granted = determinism.apply(config.determinism, config.threads, granted_before=found.record["determinism"])
    device = find_device(config.device)
    saved, passed_over = checkpoint.load_newest(found.path / "checkpoints")
    for reason in passed_over:
        watcher.line(f"passed over a broken checkpoint: {reason}")
    run = Run.reopen(found.path, positions=None if saved is None else saved.training["logs"])
    with what_remains(run), run:
        run.record(determinism=granted.to_mapping())
        watcher.line(f"resuming {run.id} at step {0 if saved is None else saved.step}")
        say_what_is_granted(granted, watcher)
        execute(run, resolved, device, watcher, proof=DataProof(repeats=found), resume_from=saved)
    return RunFolder.open(found.path)
