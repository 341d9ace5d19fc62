"""The story of a run, from a configuration to a finished run folder."""

from __future__ import annotations

import gc
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva import tasks
from deepdiva.config import from_config
from deepdiva.engine import checkpoint, determinism
from deepdiva.engine.device import find_device
from deepdiva.engine.loaders import count_steps
from deepdiva.engine.progress import Progress, RecordedProgress, SilentProgress
from deepdiva.engine.replay import Resumption
from deepdiva.engine.seeding import Streams, draw_seed
from deepdiva.errors import UserError
from deepdiva.experiments.components import (
    build_model,
    build_optimizer,
    build_schedule,
    complete_components,
    problems_of,
)
from deepdiva.experiments.data_proof import DataProof
from deepdiva.experiments.excerpt import Excerpt
from deepdiva.experiments.granted import check_positions, keep_numerics, rehearse_first_step, say_what_is_granted
from deepdiva.runs.contents import config_text, data_files
from deepdiva.runs.folder import RunFolder, shown_path
from deepdiva.runs.run import Run

if TYPE_CHECKING:
    import torch
    from torch import nn

    from deepdiva.config import Config, Resolved
    from deepdiva.engine.task import DataSplits, Task


def train(
    config: Config,
    *,
    command: Sequence[str] | None = None,
    kind: str = "run",
    parent: str | None = None,
    progress: Progress | None = None,
    proof: DataProof | None = None,
) -> RunFolder:
    """Trains as `config` says and gives the finished run.

    Args:
        config: As much of it as you like: what it leaves out comes from the task's preset and the defaults.
        command: The words that started this, for the record.
        kind: `run`, or what this run is a part of (`study`, `tuning`, `reproduction`).
        parent: The id of the run or study it belongs to.
        progress: Whoever watches; nobody by default.
        proof: What the data must be; by default what they were when this machine last read them.

    Raises:
        UserErrors: The configuration or the data have mistakes; all are named, and nothing is left behind.
        RunFailed: The training could not go on; the run is kept and marked `failed`.
    """
    determinism.prepare(config.determinism)
    resolved = tasks.configure(None, layers=[from_config(config)], check_components=problems_of)
    return train_resolved(resolved, command=command, kind=kind, parent=parent, progress=progress, proof=proof)


def train_resolved(
    resolved: Resolved,
    *,
    command: Sequence[str] | None = None,
    kind: str = "run",
    parent: str | None = None,
    progress: Progress | None = None,
    proof: DataProof | None = None,
    code: Path | None = None,
    excerpt: Excerpt | None = None,
) -> RunFolder:
    """As `train`, for a configuration that knows where each of its values came from.

    Args:
        resolved: The configuration.
        command: As in `train`, and so are `kind`, `parent`, `progress` and `proof`.
        kind: See there.
        parent: See there.
        progress: See there.
        proof: See there.
        code: The copy of the code (`code/` of another run) that the current directory was restored from.
        excerpt: The part of the training that is wanted; the whole of it by default.
    """
    wished, resolved = resolved.config.threads, _settle(resolved)
    config = resolved.config
    device = find_device(config.device)
    granted = determinism.apply(config.determinism, wished, device=device.type)
    run = Run.create(
        config.experiment or tasks.experiment_name(config.task.target),
        config=config,
        runs_dir=config.runs_dir,
        seed=config.seed,
        command=command,
        kind=kind,
        parent=parent,
        task=config.task.target,
        data=config.data,
        determinism=granted.to_mapping(),
        tensorboard=config.logging.tensorboard,
        code=code,
    )
    watcher = RecordedProgress(progress or SilentProgress(), run.print_log)
    with what_remains(run), run:
        _tell_of_code(run, watcher)
        say_what_is_granted(granted, watcher)
        execute(run, resolved, device, watcher, proof=proof or DataProof(), excerpt=excerpt or Excerpt())
    return RunFolder.open(run.path)


@contextmanager
def what_remains(run: Run) -> Iterator[None]:
    """Adds to an error where the run is kept that it ended, and how to go on; `deepdiva` prints it."""
    try:
        yield
    except BaseException as error:
        if run.path.exists():
            shown = shlex.quote(shown_path(run.path))
            error.add_note(f"the run is kept: {shown}")
            error.add_note(f"to go on: deepdiva resume {shown}")
        raise


def execute(
    run: Run,
    resolved: Resolved,
    device: torch.device,
    progress: Progress,
    *,
    proof: DataProof,
    resumption: Resumption | None = None,
    excerpt: Excerpt | None = None,
) -> None:
    """What happens inside a run folder: data, model, training, test.

    Args:
        run: The open run.
        resolved: The configuration; what the data decide is still added to it.
        device: Where to compute.
        progress: Whoever watches.
        proof: What the data must be.
        resumption: Where to go on; None to begin.
        excerpt: The part of the training that is wanted; the whole of it by default.

    Raises:
        UserErrors: What is configured does not fit the data.
    """
    from deepdiva.engine.trainer import Trainer

    assert resolved.config.seed is not None
    streams = Streams(resolved.config.seed, device)
    task = tasks.create(resolved)
    streams.seed_globals("data")
    proof.check_before_reading(resolved.config.data)
    data = task.load_data(resolved.config.data)
    proof.check_read(run, data.footprints)
    check_positions(data)
    config = complete_components(resolved, task, data, device)
    _record(run, config, task, data, resumed=resumption is not None)

    streams.seed_globals("initialisation")
    model = task.build_model(lambda: build_model(config)).to(device)
    excerpt = excerpt or Excerpt()
    if resumption is None:
        _load_initial_weights(config, model)
        excerpt.perturb(model, streams)
    rehearse_first_step(run, config, task, data, model, streams=streams, device=device, progress=progress)
    optimizer = build_optimizer(config, model)
    steps = config.epochs * count_steps(len(data.train), config.batch_size, config.training.accumulate)
    trainer = Trainer(
        task=task,
        data=data,
        model=model,
        optimizer=optimizer,
        schedule=build_schedule(config, optimizer, steps=steps),
        config=config,
        run=run,
        streams=streams,
        device=device,
        progress=progress,
    )
    _collect_garbage_again()
    _tell(run, progress, config, data, model, device)
    if resumption is not None:
        resumption.begin(trainer)
    elif (begin := excerpt.first_checkpoint()) is not None:
        trainer.restore(begin)
    trainer.fit(until=excerpt.until, watch=excerpt.watcher(model))
    run.record(digests=trainer.digests(), best=trainer.best())
    if excerpt.until is not None:  # what follows the last step is no part of it
        excerpt.record_samples(data, config, streams, run.storage)
        return
    run.record(results=trainer.test())
    keep_numerics(run, device)
    if config.logging.figures != "none":
        _draw_curves(run)


def _collect_garbage_again() -> None:
    """Ends the pause in which the command line starts.

    Nothing made so far is garbage: from here on the collector need only look at what the training makes. Elsewhere it
    may be the rest of an earlier training, which must not stay for good.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _draw_curves(run: Run) -> None:
    """Loss, metrics and learning rate over the epochs, from the events."""
    from deepdiva.visualization.curves import learning_curves

    run.flush()
    series: dict[str, tuple[list[int], list[float]]] = {}
    for event in RunFolder.open(run.path).events():
        for tag, value in event["values"].items():
            if tag.startswith(("train/", "val/")) and not tag.startswith("train/batch/"):
                steps, values = series.setdefault(tag, ([], []))
                steps.append(event["step"])
                values.append(value)
    run.summary_figure("curves", learning_curves(series))


def _settle(resolved: Resolved) -> Resolved:
    """The configuration with what is chosen at the start and recorded: the seed, the threads and the device."""
    config = resolved.config
    chosen: dict[str, int | str] = {}
    if config.device == "auto":
        chosen["device"] = find_device("auto").type
    if config.seed is None:
        chosen["seed"] = draw_seed()
    if config.determinism == "portable":
        chosen["threads"] = 1
    elif config.threads is None:
        chosen["threads"] = determinism.default_threads()
    return replace(resolved, config=config.model_copy(update=chosen))


def _record(run: Run, config: Config, task: Task, data: DataSplits, *, resumed: bool) -> None:
    """Writes what the data decided; a resumed run must find its configuration and its data as they were."""
    if resumed:  # compared before anything is written: a second attempt must be refused as the first was
        _, of_config = config_text(config)
        _, of_data = data_files(data.footprints, data.membership, task.statistics)
        for name, digest, what in (("config", of_config, "configuration"), ("data", of_data, "data set")):
            if digest != run.facts["digests"].get(name):
                raise UserError(
                    f"run {run.id} was started with another {what}", f"restore that {what}, or start a new run"
                )
    run.write_config(config)
    run.write_data(data.footprints, data.membership, task.statistics)


def _load_initial_weights(config: Config, model: nn.Module) -> None:
    """Fine-tuning: the weights that `--init-from` names, strictly."""
    source = config.training.init_from
    if source is None:
        return
    path = Path(source)
    if (path / "run.json").is_file():
        best = (RunFolder.open(path).record.get("best") or {}).get("step")
        if best is None:
            raise UserError(f"{path} has no best checkpoint", "give one of its folders under checkpoints/")
        path = checkpoint.folder(path / "checkpoints", int(best))
    checkpoint.load_weights(model, checkpoint.read_weights(path), str(path))


def _tell_of_code(run: Run, progress: Progress) -> None:
    """Says so where the code is not simply that of a commit."""
    record = json.loads((run.path / "code" / "code.json").read_bytes())
    if record["git"] is None:
        line = f"no repository here: a copy of the {len(record['files'])} source files is kept in the run's code/"
    elif record["dirty"]:
        line = "the code has uncommitted changes: all of them are kept in the run's code/"
    else:
        return
    progress.line(line)


def _tell(
    run: Run, progress: Progress, config: Config, data: DataSplits, model: nn.Module, device: torch.device
) -> None:
    """The first lines of a run: what is trained on what, and where it is written."""
    sizes = " / ".join(str(len(split)) for split in (data.train, data.val, data.test) if split is not None)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    name = config.model.target if config.model is not None else type(model).__name__
    what = f"{config.task.target} on {config.data}: {sizes} samples; {name}, {parameters:,} parameters"
    lines = [
        f"run {shown_path(run.path)}",
        f"{what}; seed {config.seed}; {device}, {config.threads} thread{'s' if config.threads != 1 else ''}",
        f"should it be interrupted: deepdiva resume {shown_path(run.path)}",
    ]
    for line in lines:
        progress.line(line)
