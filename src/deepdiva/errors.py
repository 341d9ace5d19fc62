"""Errors a user can act on, and the nearest name for a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any


class UserError(Exception):
    """A mistake the user can mend: shown as one clear message, never as a traceback (exit code 2).

    Args:
        message: What happened, and where.
        hint: What to do about it.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Sent whole from one process to another.
        return type(self), (self.message, self.hint), self.__dict__

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class RunFailed(UserError):
    """A run that began and could not go on, for a reason that needs no traceback (exit code 1)."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One mistake among several: what is wrong, where it stands (`run.yaml:3`, `--epochs`), what to do."""

    message: str
    where: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.hint is None else f"{text} ({self.hint})"


class UserErrors(UserError):
    """Several mistakes, all reported at once; a single one reads as any `UserError`."""

    def __init__(self, problems: Sequence[Problem], summary: str | None = None) -> None:
        self.problems = tuple(problems)
        self._summary = summary
        if len(self.problems) == 1 and summary is None:
            only = self.problems[0]
            super().__init__(str(replace(only, hint=None)), only.hint)
        else:
            head = summary or f"{len(self.problems)} problems"
            super().__init__("\n".join([f"{head}:", *(f"  - {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self._summary), self.__dict__


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` most likely meant, or None when nothing is near."""
    folded = {candidate.lower().replace("_", "-"): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """A hint such as `did you mean 'epochs'?`, or None when nothing is near."""
    match = nearest(name, candidates)
    return None if match is None else f"did you mean '{match}'?"
