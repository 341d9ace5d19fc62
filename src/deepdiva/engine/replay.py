"""A resume proves itself: one step is done again, and what it gives is compared with its stored fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepdiva.engine.checkpoint import Checkpoint, CheckpointError, folder, load, steps
from deepdiva.engine.saved_state import problems_of

if TYPE_CHECKING:
    from deepdiva.engine.trainer import Trainer
    from deepdiva.runs.folder import RunFolder

PARTS = ("batch", "loss", "state")
"""What the fingerprint of a step holds: which samples in which order, the bits of the loss, the weights after it."""

Fingerprint = Mapping[str, Any]


@dataclass(frozen=True)
class Replay:
    """A step that a resumed run does again.

    Args:
        stored: Its fingerprint, from the first time.
        start: The checkpoint before it; None where it is the next step of the run anyway.
    """

    stored: Fingerprint
    start: Checkpoint | None = None

    @property
    def step(self) -> int:
        """The number of the step."""
        return int(self.stored["step"])

    def differing(self, found: Fingerprint) -> tuple[str, ...]:
        """The parts of the fingerprint that are not what they were."""
        return tuple(part for part in PARTS if found[part] != self.stored[part])


def find_replay(run: RunFolder, saved: Checkpoint) -> Replay | None:
    """The best step to do again when `run` goes on from `saved`; call it before the logs are cut.

    It is the step after the checkpoint. Where the run ended before that one was recorded, it is the step after the
    newest whole checkpoint before; None where there is no such either.
    """
    directory = saved.path.parent
    before = [step for step in steps(directory) if step < saved.step]
    wanted = {step + 1 for step in [saved.step, *before]}
    stored = {record["step"]: record for record in run.fingerprints() if record["step"] in wanted and "loss" in record}
    if saved.step + 1 in stored:
        return Replay(stored[saved.step + 1])
    for step in before:
        if step + 1 in stored:
            try:
                start = load(folder(directory, step))
            except CheckpointError:
                continue
            if not problems_of(start):
                return Replay(stored[step + 1], start)
    return None


@dataclass(frozen=True)
class Resumption:
    """Where a run goes on, and how it proves that it is the same run.

    Args:
        checkpoint: Where.
        replay: The step that is done again; None where there is none to compare with.
        tell: Gets the replay and the parts of it that differed.
    """

    checkpoint: Checkpoint
    replay: Replay | None
    tell: Callable[[Replay, tuple[str, ...]], None]

    def begin(self, trainer: Trainer) -> None:
        """Brings a trainer to the checkpoint; a step before it is done again now, the one after it when it comes."""
        replay = self.replay
        if replay is not None and replay.start is not None:
            self.tell(replay, replay.differing(trainer.replay(replay.start)))
        elif replay is not None:
            trainer.notice(replay.step, lambda found: self.tell(replay, replay.differing(found)))
        trainer.restore(self.checkpoint)
