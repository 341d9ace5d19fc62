"""Asks before the code of a run is executed: whose it is, and what it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder


def ask(runs: Sequence[RunFolder], question: str) -> bool | None:
    """Says whose code is going to be executed, and asks; None where nobody can answer.

    Args:
        runs: The runs whose code it is.
        question: What is going to be done with it.
    """
    from deepdiva.cli.console import is_terminal, note

    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return None
    for line in dict.fromkeys(line for run in runs for line in whose_code(run)):
        note(line)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False


def whose_code(run: RunFolder) -> list[str]:
    """What is known of the code of a run, a line each.

    Raises:
        UserError: The run holds no record of its code.
    """
    from deepdiva.cli.console import printable
    from deepdiva.experiments.checkout import provenance

    code = provenance(run)
    commit = "no commit" if code.commit is None else f"commit {code.commit[:12]}"
    more = [
        f"on {code.branch}" if code.branch else "",
        f"from {code.remote}" if code.remote else "",
        "with uncommitted changes" if code.dirty else "",
        f"{code.files} {'file' if code.files == 1 else 'files'}",
        f"made on {code.host}" if code.host else "",
        f"with {', '.join(code.classes)}" if code.classes else "",
    ]
    return [printable(f"the code of run {run.id}: {', '.join([commit, *filter(None, more)])}")]
