"""The command `deepdiva`: reads words, calls one function, prints the answer."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from deepdiva.cli import board, doctor, project, runs, train
from deepdiva.errors import UserError

DESCRIPTION = "Reproducible deep learning: every experiment logged, seeded, versioned, and repeatable."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0 done, 1 failed, 2 a mistake of the user, 130 interrupted.

    Args:
        argv: The words after `deepdiva`; those of this process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["run"]:  # its options depend on the task, so that it reads them itself
            return train.run(words[1:])
        arguments = _parser().parse_args(words)
        result: int = arguments.func(arguments)
        return result
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:  # `deepdiva runs ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def entry() -> None:
    """The installed program.

    Collecting garbage while torch is imported, and taking the interpreter apart at the end, cost a second of CPU
    time and give nothing: everything a run writes is closed before this returns.
    """
    gc.disable()
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deepdiva", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (train, runs, board, project, doctor):
        module.add_parser(subparsers)
    return parser


def _version() -> str:
    from deepdiva import __version__

    return f"deepdiva {__version__}"


if __name__ == "__main__":
    entry()
