"""`deepdiva reproduce RUN`: trains a run again from its own code, and says whether it reproduces."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.engine.interrupt import ended_at_once

if TYPE_CHECKING:
    from deepdiva.experiments.audit import Audit
    from deepdiva.experiments.preparation import Preparation, Wishes
    from deepdiva.experiments.replication import Effort
    from deepdiva.experiments.reproduce import Reproduction
    from deepdiva.experiments.verdict import Verdict
    from deepdiva.runs.difference import Difference
    from deepdiva.runs.folder import RunFolder

STYLES: Mapping[str, str] = {
    "BIT-IDENTICAL": "bold green",
    "EQUIVALENT": "bold green",
    "DIFFERENT": "bold red",
    "INCONCLUSIVE": "bold yellow",
}
_SHOWN = 20  # differences that get a line each
_OPERATIONS = 4  # operations that are named of those that give other bits
_DESCRIPTION = """\
Restores the code of a run into a temporary folder, verifies its data file by file, lists everything that is not the
same here, trains again in a fresh process with the same seed and threads, compares every bit, and gives a verdict:
BIT-IDENTICAL or EQUIVALENT (exit code 0), DIFFERENT (1), INCONCLUSIVE (3). The new run keeps it, with the evidence in
reproduction.json. It executes the code of the run, and asks before it does."""
_EPILOG = """\
examples:
  deepdiva reproduce last
  deepdiva reproduce runs/points/20261101T120000Z-a1b2c3 --data /mnt/other/data --yes
  deepdiva reproduce last --replicates 20 --margin 0.01
  deepdiva reproduce last --audit 3"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "reproduce",
        help="train a run again from its own code, and say whether it reproduces",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, its id or the beginning of it, or `last`")
    parser.add_argument("--yes", action="store_true", help="execute the code of the run without asking")
    parser.add_argument(
        "--runs-dir",
        metavar="DIR",
        help="where RUN is looked for, and new runs are kept (default: runs, and beside the original)",
    )
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    _add_surroundings(parser)
    _add_effort(parser)
    parser.set_defaults(func=reproduce)


def _add_surroundings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("when something is elsewhere, or other than it was")
    group.add_argument("--data", metavar="PATH", type=Path, help="where the data are now")
    group.add_argument(
        "--environment",
        choices=("current", "recreate"),
        default="current",
        help="current: compare what is installed with what was; recreate: build a virtual environment with the exact "
        "packages of the run, kept in the user's cache (default: current)",
    )
    group.add_argument(
        "--allow-changed-data", action="store_true", help="list changed data instead of stopping; never bit-identical"
    )
    for name, metavar, what in (("threads", "N", "threads"), ("workers", "N", "processes that load data")):
        group.add_argument(f"--{name}", metavar=metavar, type=int, help=f"another number of {what} than the run had")
    group.add_argument("--device", metavar="NAME", help="another device than the run had: cpu, cuda, cuda:1, mps")
    group.add_argument(
        "--keep-code", metavar="DIR", type=Path, help="restore the code into this new folder, and keep it"
    )


def _add_effort(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("when the bits are not the same")
    group.add_argument(
        "--reruns",
        metavar="N",
        type=int,
        default=5,
        help="trainings from weights moved by one unit in the last place: they show how far rounding alone leads "
        "(default: %(default)s; 0: none)",
    )
    group.add_argument("--replicates", metavar="N", type=int, default=0, help="runs with fresh seeds made here")
    group.add_argument(
        "--margin", metavar="M", type=float, help="the largest difference of the metric that does not matter"
    )
    group.add_argument("--metric", metavar="NAME", help="what is compared (default: the score on the test split)")
    group.add_argument(
        "--originals", metavar="RUN", nargs="+", help="original runs with other seeds, or the folder that holds them"
    )
    group = parser.add_argument_group("instead of training the whole run again")
    group.add_argument(
        "--audit", metavar="K", type=int, help="replay K random segments between checkpoints, bit by bit"
    )
    group.add_argument("--audit-seed", metavar="S", type=int, help="draw the same segments again (default: new ones)")


@ended_at_once
def reproduce(arguments: argparse.Namespace) -> int:
    """`deepdiva reproduce RUN`; the exit code says the verdict."""
    from deepdiva.experiments.preparation import check_reproducible
    from deepdiva.runs.folder import find_run

    original = find_run(arguments.run, arguments.runs_dir or "runs")
    check_reproducible(original)
    effort = _effort(arguments, original)
    _check_audit(arguments)
    if not _agreed(original, yes=arguments.yes):
        return 2
    if arguments.audit is not None:
        return _audit(arguments, original)
    from deepdiva.cli.console import print_json
    from deepdiva.experiments.reproduce import evidence
    from deepdiva.experiments.reproduce import reproduce as reproduce_run

    watcher = Watcher()
    result = reproduce_run(original, _wishes(arguments), effort, listener=watcher)
    if arguments.json:
        assert watcher.preparation is not None
        print_json({**evidence(result, watcher.preparation), "path": result.run and str(result.run.path)})
    else:
        _print(result)
    return result.verdict.exit_code


def _check_audit(arguments: argparse.Namespace) -> None:
    """Refuses what belongs to a whole reproduction only."""
    from deepdiva.errors import UserError

    if arguments.audit is None and arguments.audit_seed is not None:
        raise UserError("--audit-seed says which segments --audit replays", "say how many: --audit 3")
    if arguments.audit is not None and arguments.replicates:
        raise UserError("--audit replays parts of a run, --replicates trains whole ones", "ask for one of them")


def _agreed(original: RunFolder, *, yes: bool) -> bool:
    """Whether the code of the run may be executed here."""
    from deepdiva.cli.consent import ask, whose_code
    from deepdiva.cli.console import note
    from deepdiva.errors import UserError

    if yes:
        for line in whose_code(original):
            note(line)
        return True
    answer = ask([original], "it is executed on this machine, with your rights: go on?")
    if answer is None:
        raise UserError(
            f"the code of run {original.id} would be executed here, and nobody is there to agree",
            "in a script: --yes, once you know whose code it is (deepdiva runs show)",
        )
    if not answer:
        note("nothing was executed")
    return answer


def _wishes(arguments: argparse.Namespace) -> Wishes:
    from deepdiva.experiments.preparation import Wishes

    return Wishes(
        data=arguments.data,
        environment=arguments.environment,
        threads=arguments.threads,
        device=arguments.device,
        workers=arguments.workers,
        allow_changed_data=arguments.allow_changed_data,
        runs_dir=None if arguments.runs_dir is None else Path(arguments.runs_dir),
        keep_code=arguments.keep_code,
    )


def _effort(arguments: argparse.Namespace, original: RunFolder) -> Effort:
    """What is to be done where the bits differ, refused at once where it cannot be."""
    from deepdiva.experiments import replication

    effort = replication.Effort(
        reruns=arguments.reruns,
        replicates=arguments.replicates,
        margin=arguments.margin,
        metric=arguments.metric,
        originals=None if arguments.originals is None else tuple(_named(arguments.originals)),
    )
    replication.check(original, effort)
    return effort


def _named(texts: Sequence[str]) -> Iterator[RunFolder]:
    """The runs that `--originals` names: runs, or folders that hold some."""
    from deepdiva.errors import UserError
    from deepdiva.runs.folder import RunFolder, find_run

    for text in texts:
        if Path(text).is_dir() and not (Path(text) / "run.json").exists():
            folders = sorted(path.parent for path in Path(text).glob("**/run.json"))
            if not folders:
                raise UserError(f"--originals {text}: there is no run in it")
            yield from map(RunFolder.open, folders)
        else:
            yield find_run(text)


def _audit(arguments: argparse.Namespace, original: RunFolder) -> int:
    from secrets import randbelow

    from deepdiva.cli.console import print_json
    from deepdiva.experiments.audit import audit

    seed = arguments.audit_seed if arguments.audit_seed is not None else randbelow(10**6)
    found = audit(original, arguments.audit, _wishes(arguments), seed=seed, listener=Watcher())
    if arguments.json:
        print_json(found.to_mapping())
    else:
        _print_audit(found)
    return found.exit_code


class Watcher:
    """Tells how it goes on: titles and lines on standard error."""

    def __init__(self) -> None:
        self.preparation: Preparation | None = None

    def stage(self, title: str) -> None:
        """A title."""
        from deepdiva.cli.console import note

        note(f"\n{title}", style="bold")

    def line(self, text: str) -> None:
        """A line below it."""
        from deepdiva.cli.console import note, printable

        # A reproduction is not resumed: its code is in a folder that goes away.
        if not text.startswith("should it be interrupted"):
            note(f"  {printable(text)}")

    def prepared(self, preparation: Preparation) -> None:
        """Every difference, before anything is trained."""
        from deepdiva.cli.console import note, printable

        self.preparation = preparation
        self.stage("what is not the same here")
        for line, style in described(preparation.differences, is_data_proved=not preparation.data_to_come):
            note(f"  {printable(line)}", style=style)
        for name in preparation.data_to_come:
            note(f"  the data, {printable(name)}: the training makes or finds them; they are compared then")
        for name in preparation.checkout.unproven:
            note(f"  {printable(name)}: too big for the copy of the code, used from where it was, not proven")
        for name, reason in preparation.checkout.missing.items():
            note(f"  {printable(name)}: is missing, for the copy of the code left it out: {printable(reason)}")


def described(differences: Sequence[Difference], *, is_data_proved: bool = True) -> Iterator[tuple[str, str]]:
    """Differences as lines with their styles: one each for what matters, one for all that cannot."""
    from deepdiva.cli.console import format_number

    serious = [item for item in differences if not item.harmless]
    numeric = [item for item in serious if item.kind == "numerics"]
    others = [item for item in serious if item.kind != "numerics"]
    harmless = [item for item in differences if item.harmless]
    if not serious:
        data = " data," if is_data_proved else ""
        yield f"nothing: configuration, code,{data} packages, machine and arithmetic are as they were", "green"
    width = max((len(item.what) for item in others[:_SHOWN]), default=0)
    for item in others[:_SHOWN]:
        yield f"{item.kind:<11}  {item.what:<{width}}  {_change(item)}", "yellow"
    if len(others) > _SHOWN:
        yield f"… and {len(others) - _SHOWN} more", "yellow"
    if numeric:
        names = ", ".join(item.what for item in numeric[:_OPERATIONS])
        more = f" and {len(numeric) - _OPERATIONS} more" if len(numeric) > _OPERATIONS else ""
        count = f"{format_number(len(numeric))} {'operation gives' if len(numeric) == 1 else 'operations give'}"
        yield f"numerics     {count} other bits here: {names}{more}", "yellow"
    if harmless:
        shown = [f"{item.what} {_change(item)}" for item in harmless[:_OPERATIONS]]
        more = f", … ({len(harmless)} in all)" if len(harmless) > _OPERATIONS else ""
        yield f"harmless     {', '.join(shown)}{more}", "dim"


def _change(item: Difference) -> str:
    before, now = (_short("absent" if value is None else value) for value in (item.a, item.b))
    return f"{before} → {now}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}…"


def _print(result: Reproduction) -> None:
    from deepdiva.cli.console import printable, say, styled
    from deepdiva.runs.folder import shown_path

    say()
    _print_verdict(result.verdict)
    say()
    _print_results(result)
    paths = {"original": result.original.path}
    if result.run is not None:
        paths |= {"this run": result.run.path, "evidence": result.run.path / "reproduction.json"}
    for name, path in paths.items():
        say(f"{styled(f'{name:<9}', 'dim')}  {printable(shlex.quote(shown_path(path)))}")
    if result.divergence is not None and result.run is not None:
        both = " ".join(shlex.quote(shown_path(run.path)) for run in (result.original, result.run))
        say(f"{styled('look', 'dim')}       deepdiva why {both}")


def _print_verdict(verdict: Verdict) -> None:
    from deepdiva.cli.console import printable, say, styled

    head, *rest = verdict.lines()
    name, _, reason = head.partition(": ")
    say(f"{styled(name, STYLES[verdict.name])}: {printable(reason)}")
    for line in rest:
        say(f"  {printable(line)}")


def _print_results(result: Reproduction) -> None:
    """The final numbers of both, side by side."""
    from deepdiva.cli.console import format_number, say, styled

    if result.run is None or not result.run.results:
        return
    ours, theirs = result.original.results, result.run.results
    width = max(len(name) for name in ours)
    say(styled(f"  {'':<{width}}  {'original':>12}  {'now':>12}", "dim"))
    for name, value in ours.items():
        now = theirs.get(name)
        texts = (format_number(value), "" if now is None else format_number(now))
        same = styled("   the same", "dim") if now == value else f"   {now - value:+.2g}" if now is not None else ""
        say(f"  {name:<{width}}  {texts[0]:>12}  {texts[1]:>12}{same}")
    say()


def _print_audit(found: Audit) -> None:
    from deepdiva.cli.console import say, styled
    from deepdiva.experiments.audit_odds import replays_needed

    exact = sum(not replay.faults and not replay.failure for replay in found.replays)
    what = f"{exact} of {len(found.replays)} replayed segments are as the run recorded them, bit for bit"
    say()
    say(f"{styled(found.verdict, STYLES[found.verdict])}: {what}")
    if found.hindrance:
        say(f"  {found.hindrance}: other bits prove nothing here")
    odds = f"{100 * found.odds:.0f} %"
    say(f"  a run that was changed in 10 % of its {found.segments} segments would have been caught with {odds}")
    needed = replays_needed(found.segments, 0.95)
    if found.segments < 10:
        say(styled("  runs made with --training.keep-every 1 keep a checkpoint of every epoch: more segments", "dim"))
    elif needed > len(found.replays):
        say(styled(f"  --audit {needed} would catch it with 95 %", "dim"))
