"""`deepdiva why A B`: the first difference between two runs, and its cause."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deepdiva.engine.interrupt import ended_at_once

if TYPE_CHECKING:
    from deepdiva.experiments.why import Explanation
    from deepdiva.runs.difference import Difference
    from deepdiva.runs.folder import RunFolder

_SHOWN = 12
_LINES = 14  # of the hunks of one file
_NAMES = 6


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "why",
        help="why two runs differ: the first step, the first operation, the cause",
        description="Names the first difference between two runs: in settings, code (file and hunk), data (file) and "
        "environment; then the step; then, by repeating that step of both under observation, the first operation "
        "with module and line; then exchanges what differs until B computes what A computed. Exit code 0 when the "
        "two are the same bit for bit, 1 when they differ.",
        allow_abbrev=False,
    )
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="a run: its folder, its id or the beginning of it, `last`")
    parser.add_argument("--yes", action="store_true", help="execute the code of both runs without asking")
    parser.add_argument("--read-only", action="store_true", help="compare the records only, and execute nothing")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="where runs are kept (default: runs)")
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.set_defaults(func=explain)


@ended_at_once
def explain(arguments: argparse.Namespace) -> int:
    """`deepdiva why A B`; 0 when nothing differs, 1 otherwise."""
    from deepdiva.cli.console import print_json
    from deepdiva.engine.progress import ConsoleProgress
    from deepdiva.experiments.why import why
    from deepdiva.runs.folder import find_run

    a, b = (find_run(text, arguments.runs_dir) for text in (arguments.a, arguments.b))
    repeat = not arguments.read_only and _may_execute((a, b), agreed=arguments.yes)
    explanation = why(a, b, repeat=repeat, progress=ConsoleProgress())
    if arguments.json:
        print_json(_as_mapping(explanation))
    else:
        _print(a, b, explanation)
    return 0 if explanation.comparison.same_bits else 1


def _may_execute(runs: Sequence[RunFolder], *, agreed: bool) -> bool:
    """Whether the code of both may run: their step is repeated with it."""
    from deepdiva.cli.consent import ask, whose_code
    from deepdiva.cli.console import note

    if agreed:
        for line in dict.fromkeys(line for run in runs for line in whose_code(run)):
            note(line)
        return True
    answer = ask(runs, "repeat one step of each with this code?")
    if answer is None:
        note("only the records are compared; --yes repeats the step in which they part, with the code of both runs")
    return bool(answer)


def _print(a: RunFolder, b: RunFolder, found: Explanation) -> None:
    from deepdiva.cli.console import printable, say, styled
    from deepdiva.runs.folder import shown_path

    for name, run in (("A", a), ("B", b)):
        say(f"{styled(name, 'bold')}  {printable(shown_path(run.path))}  {styled(run.status, 'dim')}")
    for title, lines in _sections(found):
        if lines:
            say(f"\n{styled(title, 'bold')}")
        for line in lines:
            say(f"  {printable(line)}")
    say()
    style = "bold green" if found.comparison.same_bits else "bold"
    say(styled(printable(conclusion(found)), style))


def conclusion(found: Explanation) -> str:
    """The answer in a sentence."""
    if found.comparison.same_bits:
        return "the two runs are the same bit for bit"
    if found.nondeterministic and found.operation is not None:
        return f"the cause: a run does not repeat itself, from {_only_place(found)} on"
    if found.nondeterministic:
        return "the cause: a run does not repeat itself"
    causes = found.causes
    if causes:
        both = " together with ".join(_name(cause) for cause in causes)
        return f"the cause: {both} (confirmed: with what A had, B computes A's bits)"
    likely = next((item for item in found.differences if not item.harmless and item.kind != "numerics"), None)
    if likely is not None:
        return f"the likely cause, not confirmed: {_name(likely)}"
    if found.divergence is None:
        return "the steps are the same; what differs is not part of them"
    return "nothing that the records hold explains it"


def _sections(found: Explanation) -> Iterator[tuple[str, list[str]]]:
    real = [item for item in found.differences if not item.harmless]
    yield "what differs before they begin, the likeliest cause first", list(_listed(real))
    harmless = ", ".join(item.what for item in found.differences if item.harmless)
    yield "what differs and should not matter", [harmless] if harmless else []
    parted = found.divergence
    yield (
        "where they part",
        [] if parted is None else [parted.describe(), f"equal steps before it: {parted.equal_steps}"],
    )
    yield "the first operation that differs", [] if found.operation is None else [found.operation.describe()]
    yield "different before that step", [_names(found.began)] if found.began else []
    yield "samples of that step with another content", [_names(found.samples)] if found.samples else []
    yield "with what A had, one after the other", [_trial(suspect) for suspect in found.suspects]
    yield "not done", list(found.notes)


def _listed(differences: Sequence[Difference]) -> Iterator[str]:
    for item in differences[:_SHOWN]:
        values = " → ".join("nothing" if value is None else value for value in (item.a, item.b))
        yield f"{_name(item)}  {values}" if values != "nothing → nothing" else _name(item)
        lines = item.detail.splitlines()
        yield from (f"    {line}" for line in lines[:_LINES])
        if len(lines) > _LINES:
            yield f"    … and {len(lines) - _LINES} more lines"
    if len(differences) > _SHOWN:
        yield f"… and {len(differences) - _SHOWN} more; --json has all"


def _name(item: Difference) -> str:
    part = item.part if item.kind == "environment" and item.part not in ("", "determinism") else item.kind
    return item.what if part == item.what else f"{part} {item.what}"


def _trial(suspect: Any) -> str:
    answer = {True: "B computes A's bits", False: suspect.note, None: f"not tried: {suspect.note}"}[suspect.confirmed]
    more = f" ({suspect.note})" if suspect.confirmed and suspect.note else ""
    return f"{_name(suspect.difference)}: {answer}{more}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (f", … ({len(names)})" if len(names) > _NAMES else "")


def _only_place(found: Explanation) -> str:
    operation = found.operation and (found.operation.first or found.operation.second)
    return operation.describe() if operation else "an operation"


def _as_mapping(found: Explanation) -> dict[str, Any]:
    from deepdiva.cli.console import printable

    return {
        "same_bits": found.comparison.same_bits,
        "equal": dict(found.comparison.equal),
        "conclusion": printable(conclusion(found)),
        "causes": [asdict(cause) for cause in found.causes],
        "differences": [asdict(item) for item in found.differences],
        "divergence": None if found.divergence is None else asdict(found.divergence),
        "operation": None if found.operation is None else found.operation.describe(),
        "began": list(found.began),
        "samples": list(found.samples),
        "suspects": [asdict(suspect) for suspect in found.suspects],
        "nondeterministic": found.nondeterministic,
        "notes": list(found.notes),
    }
