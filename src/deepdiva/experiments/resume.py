"""Goes on where a run ended, to the same bits as if it had never stopped."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from deepdiva import tasks
from deepdiva.config import read_file
from deepdiva.engine import checkpoint, determinism
from deepdiva.engine.determinism import LEVELS
from deepdiva.engine.device import find_device
from deepdiva.engine.progress import Progress, RecordedProgress, SilentProgress
from deepdiva.engine.replay import PARTS, Replay, Resumption, find_replay
from deepdiva.engine.saved_state import check_saved
from deepdiva.errors import UserError
from deepdiva.experiments.components import problems_of
from deepdiva.experiments.data_proof import DataProof
from deepdiva.experiments.granted import say_what_is_granted
from deepdiva.experiments.train import execute, what_remains
from deepdiva.runs.capsule import capture
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.integrity import check_resumable
from deepdiva.runs.run import Run


def resume(folder: RunFolder | Path | str, *, progress: Progress | None = None) -> RunFolder:
    """Continues an interrupted or failed run from its newest whole checkpoint and gives the finished run.

    The order of the samples and every draw depend on (seed, epoch, step, index) alone, and the logs are cut to where
    the checkpoint was taken: what follows has the same bits as in a run that never stopped.

    Args:
        folder: The run, or its path.
        progress: Whoever watches; nobody by default.

    Raises:
        UserError: The run is still running, is completed, its configuration or data have changed, or its newest
            checkpoint holds something else than a state of it. The run stays as it was.
    """
    found = folder if isinstance(folder, RunFolder) else RunFolder.open(folder)
    if found.status == "completed":
        raise UserError(f"run {found.id} is completed", f"its results: `deepdiva runs show {found.id}`")
    check_resumable(found)  # before any of its settings is acted upon
    determinism.prepare(str(found.config().get("determinism")))
    resolved = tasks.configure(None, layers=[read_file(found.path / "config.yaml")], check_components=problems_of)
    config = resolved.config
    device, before = find_device(config.device), found.record["determinism"]
    granted = determinism.apply(config.determinism, config.threads, device=device.type, granted_before=before)
    saved, passed_over = checkpoint.load_newest(found.path / "checkpoints")
    if saved is not None:
        check_saved(found, saved)  # before the run is changed in any way
    replay = None if saved is None else find_replay(found, saved)
    run = Run.reopen(found.path, positions=None if saved is None else saved.training["logs"])
    watcher = RecordedProgress(progress or SilentProgress(), run.print_log)
    with what_remains(run), run:
        run.record(determinism=granted.to_mapping())
        for reason in passed_over:
            watcher.line(f"passed over a broken checkpoint: {reason}")
        watcher.line(f"resuming {run.id} at step {0 if saved is None else saved.step}")
        say_what_is_granted(granted, watcher)
        changed = _tell_changed_code(run, watcher)
        tell = partial(_tell_of_replay, run, watcher, changed_code=changed)
        resumption = None if saved is None else Resumption(saved, replay, tell)
        execute(run, resolved, device, watcher, proof=DataProof(repeats=found), resumption=resumption)
    return RunFolder.open(found.path)


def _tell_changed_code(run: Run, progress: Progress) -> bool:
    """Says, records, and gives whether the project's source is not what the run was started with.

    It is no error: a run that failed on a mistake in the code is resumed with the mistake mended.
    """
    with tempfile.TemporaryDirectory() as folder:
        now = capture(Path.cwd(), Path(folder) / "code", exclude=run.path.parents[1]).digest
    if now == run.facts["digests"].get("code"):
        return False
    _record_of_this_resume(run, code=now)
    progress.line("the code is not what the run was started with: the result mixes the two, and the record says so")
    return True


def _tell_of_replay(
    run: Run, progress: Progress, replay: Replay, differing: tuple[str, ...], *, changed_code: bool
) -> None:
    """Says and records what a step gave that was done again; a difference takes the level down to `seeded`."""
    what = ", ".join(differing or PARTS)
    _record_of_this_resume(run, proved={"step": replay.step, "same": not differing, "what": what})
    if not differing:
        progress.line(f"step {replay.step}, done again, is the same bit for bit ({what})")
        return
    reason = f"step {replay.step}, done again after an interruption, was another ({what})"
    granted = run.facts["determinism"]
    run.record(determinism={"granted": LEVELS[0], "reasons": [*granted.get("reasons", ()), reason]})
    because = "as other code may make it" if changed_code else f"the run goes on, but no longer as `{granted['asked']}`"
    progress.line(f"step {replay.step}, done again, is not what it was ({what}): {because}")


def _record_of_this_resume(run: Run, **facts: Any) -> None:
    earlier, this = run.facts["resumed"][:-1], run.facts["resumed"][-1]
    run.record(resumed=[*earlier, {**this, **facts}])
