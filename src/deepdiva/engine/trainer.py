"""The one loop that every task runs in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from deepdiva.engine import checkpoint
from deepdiva.engine.device import autocast, peak_memory
from deepdiva.engine.evaluation import deciding, evaluate, evaluating, score_of
from deepdiva.engine.fingerprint import StepDigest
from deepdiva.engine.interrupt import Interrupted, Interruption
from deepdiva.engine.loaders import Loader, Plan, count_steps, group_batches, names_of
from deepdiva.engine.progress import Progress, describe
from deepdiva.engine.recorder import EpochSums, StepRecord, StepRecorder, fingerprint_of
from deepdiva.engine.saved_state import problems_of_place, problems_of_sums, refuse
from deepdiva.engine.state import Position, TrainingState

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from deepdiva.config import Config
    from deepdiva.engine.schedule import Schedule
    from deepdiva.engine.seeding import Streams
    from deepdiva.engine.task import DataSplits, Evaluation, StepOutput, Task
    from deepdiva.runs.run import Run


class Trainer:
    """Trains a model on a task's splits and writes everything into a run.

    The whole of it, in words::

        validate, keep a checkpoint
        for every epoch:
            for every step:
                start the step's own stream of randomness
                loss and gradients of its batches; clip; optimizer; scheduler; moving average
                remember loss, measures, digests (written by the block)
            validate; is it the best? keep a checkpoint; stop early?
        load the best checkpoint and read the test split, once

    Args:
        task: Gives the loss, the metrics and the figures.
        data: The splits.
        model: The network, on `device`.
        optimizer: Built over the model's parameters.
        schedule: When the learning rate changes, and to what.
        config: The run's whole configuration.
        run: Where everything is written.
        streams: The run's streams of randomness.
        device: Where to compute.
        progress: Whoever watches.
    """

    def __init__(
        self,
        *,
        task: Task,
        data: DataSplits,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        config: Config,
        run: Run,
        streams: Streams,
        device: torch.device,
        progress: Progress,
    ) -> None:
        import torch

        checkpoint.check_model(model)
        self.task, self.data, self.model, self.optimizer, self.schedule = task, data, model, optimizer, schedule
        self.config, self.run, self.streams, self.device, self.progress = config, run, streams, device, progress
        self._context = autocast(device, config.precision)
        scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        training = config.training
        self.state = TrainingState(model, optimizer, schedule, scaler, clip_norm=training.clip_norm, decay=training.ema)
        self._train_loader = self._loader("train")
        self._val_loader = self._loader("val")
        self._steps = StepRecorder(run, every=config.logging.every, names=names_of(data.train))
        self._state_digest = StepDigest(model)
        self._directory = run.path / "checkpoints"
        self._steps_per_epoch = count_steps(len(data.train), config.batch_size, config.training.accumulate)
        self._resumed = False

    @property
    def position(self) -> Position:
        """How far it has come."""
        return self.state.position

    def fit(self, *, until: int | None = None, watch: Callable[[], AbstractContextManager[None]] | None = None) -> None:
        """Trains from the present position to the last epoch, or until the validation score stops improving.

        Args:
            until: Stops after this optimizer step (counted from the first of the training): right after it, or, at
                the last step of an epoch, after all that ends the epoch. `digests` then gives what an uninterrupted
                training had there.
            watch: What the step `until` runs in, from the loading of its batches to the optimizer.
        """
        self.progress.started(epochs=self.config.epochs, steps_per_epoch=self._steps_per_epoch)
        try:
            with Interruption() as interruption:
                if self._resumed:
                    self._prune()
                else:
                    self._judge(self._evaluate(self._val_loader, 0, interruption.check))
                    self._keep()
                while not self._is_over(until):
                    if self._train_epoch(self.position.epoch + 1, interruption, until=until, watch=watch):
                        self._end_epoch(interruption)
        finally:
            self.progress.finished()

    def test(self) -> dict[str, float]:
        """Loads the best checkpoint and reads the test split with it; gives `test/…` results, empty without a split."""
        best = self.best()
        results: dict[str, float] = {} if best is None else {best["metric"]: best["value"]}
        if self.data.test is not None:
            self._load_best()
            self.run.record_test_read(checkpoint.folder(self._directory, self._best_step()).name)
            evaluation = self._evaluate(self._loader("test"), self.position.best_epoch or 0)
            values = self._report(evaluation, self.position.step)
            if self.config.logging.predictions:
                self.run.write_predictions("test", {"id": evaluation.ids, **self.task.predictions(evaluation)})
            if self.config.logging.figures != "none":
                self._draw(evaluation)
            results |= {f"test/{name}": value for name, value in values.items()}
        return results

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continues from a checkpoint of the same run.

        Raises:
            UserErrors: It holds something else than a state of this training; what, is said part by part.
        """
        refuse(saved, problems_of_sums(saved.training.get("sums")))
        self.state.restore(saved)
        refuse(saved, problems_of_place(saved, most=self._steps_per_epoch))
        self._steps.sums = EpochSums(**saved.training["sums"])
        self._resumed = True

    def replay(self, saved: checkpoint.Checkpoint) -> dict[str, Any]:
        """Does the step after a checkpoint and gives its fingerprint; nothing is recorded. `restore` something then."""
        self.restore(saved)
        epoch = self.position.epoch + 1
        groups = group_batches(self._train_loader.plan(epoch), self.config.training.accumulate)
        refuse(saved, problems_of_place(saved, most=len(groups) - 1))
        group = groups[self.position.step_in_epoch]
        self.model.train()
        return fingerprint_of(self._step(epoch, group, self._train_loader.batches(epoch, group), time.perf_counter()))

    def notice(self, step: int, tell: Callable[[Mapping[str, Any]], None]) -> None:
        """Lets `tell` know the fingerprint of a step when it is recorded."""
        self._steps.notice(step, tell)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the model's state (`weights`) and of it with all that steps it (`state`)."""
        return self.state.digests()

    def best(self) -> dict[str, Any] | None:
        """Epoch, step, metric and value of the best validation; None when no score was a number."""
        if self.position.best_value is None:
            return None
        metric, value = f"val/{self.task.score.metric}", self.position.best_value
        return {"epoch": self.position.best_epoch, "step": self.position.best_step, "metric": metric, "value": value}

    # -- one epoch -----------------------------------------------------------------------------------------------

    def _is_over(self, until: int | None) -> bool:
        position = self.position
        over = position.finished or position.epoch >= self.config.epochs
        return over or (until is not None and position.step >= until)

    def _train_epoch(
        self,
        epoch: int,
        interruption: Interruption,
        *,
        until: int | None = None,
        watch: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> bool:
        """The steps of an epoch from the present position on; whether it got to the last one."""
        started, first = time.perf_counter(), self.position.step_in_epoch
        left = None if until is None else until - self.position.step
        groups = group_batches(self._train_loader.plan(epoch), self.config.training.accumulate)[first:][:left]
        batches = self._train_loader.batches(epoch, [indices for group in groups for indices in group])
        every, look_every = self.config.training.checkpoint_every, self.config.logging.validate_steps
        self.model.train()
        unwatched = nullcontext()
        clock = time.perf_counter()
        for group in groups:
            with watch() if watch is not None and self.position.step + 1 == until else unwatched:
                record = self._step(epoch, group, batches, clock)
            clock += record.seconds
            self._steps.add(record)
            self.progress.step(epoch, self.position.step_in_epoch, self._steps.last_loss)
            last = self.position.step_in_epoch == self._steps_per_epoch
            if not last and look_every and self.position.step % look_every == 0:
                self._look(epoch)
            if not last and (interruption.requested or (every and self.position.step % every == 0)):
                self._keep()
                interruption.check()
        self._steps.write()
        if self.position.step_in_epoch < self._steps_per_epoch:
            return False
        if groups:  # else only the validation was left
            self._log_epoch(epoch, time.perf_counter() - started, sum(len(i) for group in groups for i in group))
        return True

    def _step(self, epoch: int, group: Plan, batches: Iterator[Any], clock: float) -> StepRecord:
        """One optimizer step over the batches of `group`; their losses count by their sizes."""
        total = sum(len(indices) for indices in group)
        rate = self.optimizer.param_groups[0]["lr"]
        if len(group) == 1:
            output = self._forward(next(batches), 0)
            self.state.backward(output.loss)
            loss, measures = output.loss.detach(), output.measures
        else:
            loss, measures = self._accumulate(islice(batches, len(group)), total)
        self.state.update()
        seconds = time.perf_counter() - clock
        state = self._state_digest()
        return StepRecord(self.position.step, epoch, total, loss, measures, rate, state, group, seconds, time.time())

    def _forward(self, batch: Any, place: int) -> StepOutput:
        """The task's step on one batch, at the start of a stream of its own."""
        self.streams.seed_globals("step", self.position.step + 1, place)
        with self._context:
            return self.task.step(self.model, batch)

    def _accumulate(self, batches: Iterator[Any], total: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradients, loss and measures of several batches with `total` samples together."""
        shares: list[Tensor] = []
        measures: dict[str, Tensor] = {}
        for place, batch in enumerate(batches):
            output = self._forward(batch, place)
            weight = output.size / total
            share = output.loss * weight
            self.state.backward(share)
            shares.append(share.detach())
            for name, value in output.measures.items():
                measures[name] = measures.get(name, 0) + value.float().mean() * weight
        return sum(shares[1:], start=shares[0]), measures

    def _log_epoch(self, epoch: int, seconds: float, samples: int) -> None:
        values = {f"train/{name}": value for name, value in self._steps.sums.means().items()}
        values["train/learning_rate"] = self.optimizer.param_groups[0]["lr"]
        values["system/epoch_seconds"] = seconds
        values["system/samples_per_second"] = samples / seconds
        values["system/memory_mib"] = peak_memory(self.device)
        self.run.log(self.position.step, values, epoch=epoch)

    def _end_epoch(self, interruption: Interruption) -> None:
        """Everything that follows the last step of an epoch; the checkpoint at its end counts the epoch as done."""
        epoch, evaluation = self.position.epoch + 1, None
        if epoch % self.config.training.validate_every == 0 or epoch == self.config.epochs:
            try:
                evaluation = self._evaluate(self._val_loader, epoch, interruption.check)
            except Interrupted:  # there may be no time for the rest of a long validation: it is begun anew
                self._keep()
                raise
        means = self._steps.sums.means()
        self._steps.sums = EpochSums()
        self.position.epoch, self.position.step_in_epoch = epoch, 0
        self.schedule.after_epoch()
        if evaluation is not None:
            self.schedule.after_validation(self._judge(evaluation, means))
            if self._is_patience_over():
                patience = self.config.training.patience
                self.progress.line(f"no better {self.task.score.metric} in {patience} validations: stopped early")
                self.position.finished = True
        digests = self.digests()
        self.run.fingerprint_block([{"step": self.position.step, "epoch": epoch, **digests}])
        self._keep(digests)
        interruption.check()

    # -- evaluation ----------------------------------------------------------------------------------------------

    def _judge(self, evaluation: Evaluation, train: dict[str, float] | None = None) -> float:
        """Reports a validation, finds whether it is the best, and gives its score."""
        epoch, values = evaluation.epoch, self._report(evaluation, self.position.step)
        score = deciding(self.task, values)
        better = self._is_better(score, values["loss"])
        if better:
            self.position.best_value, self.position.best_step = score, self.position.step
            self.position.best_loss = values["loss"]
            self.position.best_epoch, self.position.without_improvement = epoch, 0
        else:
            self.position.without_improvement += 1
        if self.config.logging.figures == "validation" or self._last_figures(epoch):
            self._draw(evaluation)
        shown = [f"epoch {epoch:>3}/{self.config.epochs}"]
        shown += [f"train  {describe(train)}"] if train else []
        shown += [f"val  {describe(values)}"]
        self.progress.line("  |  ".join(shown) + ("  best" if better and epoch > 0 else ""))
        return score

    def _look(self, epoch: int) -> None:
        """A validation within an epoch: it is logged and drawn, and decides nothing."""
        self._steps.write()
        evaluation = self._evaluate(self._val_loader, epoch)
        self._report(evaluation, self.position.step)
        if self.config.logging.figures == "validation":
            self._draw(evaluation)

    def _is_better(self, score: float, loss: float) -> bool:
        """Whether a validation is the best so far; a tie, as small splits often have, goes to the lower loss."""
        best, best_loss = self.position.best_value, self.position.best_loss
        tie_is_won = score == best and best_loss is not None and loss < best_loss
        return self.task.score.better(score, best) or tie_is_won

    def _evaluate(self, loader: Loader, epoch: int, check: Callable[[], None] | None = None) -> Evaluation:
        return evaluate(
            self.task,
            self.state.evaluated,
            loader,
            self.data,
            epoch=epoch,
            streams=self.streams,
            context=self._context,
            device=self.device,
            check=check,
        )

    def _report(self, evaluation: Evaluation, step: int) -> dict[str, float]:
        values = dict(score_of(self.task, evaluation))
        named = {f"{evaluation.split}/{name}": value for name, value in values.items()}
        self.run.log(step, named, epoch=evaluation.epoch)
        return values

    def _draw(self, evaluation: Evaluation) -> None:
        self.streams.seed_globals(f"figures:{evaluation.split}", evaluation.epoch)
        model = self.state.evaluated
        with evaluating(model):
            figures = self.task.figures(model, evaluation)
        for name, image in figures.items():
            self.run.figure(f"{evaluation.split}/{name}", image, self.position.step)

    def _last_figures(self, epoch: int) -> bool:
        last = epoch == self.config.epochs or self._is_patience_over()
        return self.config.logging.figures == "end" and last

    def _is_patience_over(self) -> bool:
        patience = self.config.training.patience
        return patience is not None and self.position.without_improvement >= patience

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _keep(self, digests: dict[str, str] | None = None) -> None:
        """Writes a checkpoint of the present position; the log is made durable before it."""
        self._steps.write()
        logs = self.run.sync()
        training = {
            **self.state.rest(),
            "sums": asdict(self._steps.sums),
            "logs": logs,
            "digests": digests or self.digests(),
            "about": {
                "task": self.config.task.target,
                "classes": list(self.data.classes),
                "statistics": dict(self.task.statistics),
                "preprocessing": dict(self.data.preprocessing),
            },
        }
        checkpoint.save(self._directory, self.position.step, self.model, training, self.run.storage)
        self._prune()

    def _prune(self) -> None:
        """Also when a run goes on: the process before may have ended in the middle of it."""
        every, position = self.config.training.keep_every, self.position
        kept = {position.best_step} if position.best_step is not None else set()
        if every is not None:
            kept |= {epoch * self._steps_per_epoch for epoch in range(0, position.epoch + 1, every)}
        checkpoint.prune(self._directory, kept, self.run.storage, newest=position.step)

    def _best_step(self) -> int:
        return self.position.step if self.position.best_step is None else self.position.best_step

    def _load_best(self) -> None:
        best = checkpoint.load(checkpoint.folder(self._directory, self._best_step()))
        checkpoint.load_weights(self.state.evaluated, best.evaluated, str(best.path))

    def _loader(self, split: str) -> Loader:
        return Loader(
            getattr(self.data, split),
            batch_size=self.config.batch_size,
            streams=self.streams,
            device=self.device,
            workers=self.config.workers,
            purpose=split,
        )
