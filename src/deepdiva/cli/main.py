"""The command `deepdiva`: reads words, calls one function, prints the answer."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from deepdiva.cli import board, completion, data, doctor, project, reproduce, runs, train, trials, why
from deepdiva.errors import UserError, did_you_mean

DESCRIPTION = "Reproducible deep learning: every experiment logged, seeded, versioned, and repeatable."
# Their options depend on the task, so that they read their words themselves.
READERS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "run": train.run,
    "check": project.check,
    "chaos": trials.chaos,
    completion.ASK: lambda words: completion.answer(words, build_parser()),
}


class Parser(argparse.ArgumentParser):
    """Reads the words of a command; its mistakes are reported as all others are."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words."""
        raise UserError(message, f"`{self.prog} --help` says what there is")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code.

    0 done, 1 failed, 2 a mistake of the user, 130 interrupted by Ctrl-C, 75 by the signal of a scheduler.

    Args:
        argv: The words after `deepdiva`; those of this process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except UserError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt as interruption:
        _note("\n".join(["interrupted", *_notes(interruption)]), "yellow")
        return int(getattr(interruption, "exit_code", 130))
    except BrokenPipeError:  # `deepdiva runs ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        _show_traceback(error)
        return 1


def entry() -> None:
    """The installed program.

    Collecting garbage while torch is imported, and taking the interpreter apart at the end, cost a second of CPU
    time and give nothing: everything a run writes is closed before this returns. The training collects again.
    """
    if sys.argv[1:2] in (["run"], ["resume"]):
        gc.disable()
    else:
        gc.set_threshold(100_000, 20, 100)
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="deepdiva", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (train, reproduce, runs, board, data, project, doctor, trials, why, completion):
        module.add_parser(subparsers)
    return parser


def _run(words: list[str]) -> int:
    """Calls the function of the command that the words name."""
    if words and words[0] in READERS:
        return READERS[words[0]](words[1:])
    if words[:1] == ["doctor"] and trials.is_about_a_task(words[1:]):
        return trials.doctor(words[1:])
    parser = build_parser()
    if not words:
        sys.stderr.write(parser.format_help())
        return 2
    _check_command(words, parser)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(unknown, words, parser)
    result: int = arguments.func(arguments)
    return result


def _check_command(words: Sequence[str], parser: Parser) -> None:
    chosen, rest = completion.descend(parser, words)
    known = list(completion.subcommands(chosen))
    if known and rest and not rest[0].startswith("-"):
        hint = did_you_mean(rest[0], known) or f"there are {', '.join(known)}"
        raise UserError(f"there is no command '{chosen.prog} {rest[0]}'", hint)


def _refuse(unknown: Sequence[str], words: Sequence[str], parser: Parser) -> NoReturn:
    chosen, _ = completion.descend(parser, words)
    options = [word for word in unknown if word.startswith("-")]
    if not options:
        raise UserError(
            f"{chosen.prog}: one word too many: '{unknown[0]}'", f"`{chosen.prog} --help` says what there is"
        )
    name = options[0].partition("=")[0]
    known = [option for option in completion.options_of(chosen) if option.startswith("--")]
    hint = did_you_mean(name, known) or f"`{chosen.prog} --help` lists its options"
    raise UserError(f"{chosen.prog}: there is no option {name}", hint)


def _complain(error: UserError) -> None:
    from deepdiva.cli.console import printable_lines, styled

    # Names in it may be those of a stranger's files: nothing in them may move the cursor.
    _note(f"{styled('error:', 'bold red', sys.stderr)} " + printable_lines("\n".join([str(error), *_notes(error)])))


def _show_traceback(error: Exception) -> None:
    """What a mistake in the code, ours or the user's, says: all of it."""
    import traceback

    from deepdiva.cli.console import styled

    notes = _notes(error)
    error.__notes__ = []  # they come last, where they are seen
    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {error}".strip().removesuffix(":")
    _note(f"{text}\n{styled('error:', 'bold red', sys.stderr)} " + "\n".join([summary, *notes]))


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def _note(text: str, style: str = "") -> None:
    from deepdiva.cli.console import note

    note(text, style=style)


def _version() -> str:
    from deepdiva import __version__

    return f"deepdiva {__version__}"


if __name__ == "__main__":
    entry()
