"""What the documentation shows is run, page by page, in a project of the page's own.

- A `console` block is typed into a shell: lines after `$ ` are commands, the others are output that must appear (`…`
  stands for anything). The current directory is kept from block to block.
- A `python` block is a program of its own.
- `<!-- file: NAME -->` before a block writes the block to that file instead of running it.
- `<!-- exit: N -->` expects that status of the last command.
- `<!-- not run here: WHY -->` leaves the block out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepdiva.cli import completion
from deepdiva.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)")
RUN = ("console", "python")
# Blocks that are shown without being run, over all pages; fewer is better.
MOST_NOT_RUN = 5


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    body: str
    note: str
    line: int

    def after(self, key: str) -> str | None:
        """What the block's note says after `key: `."""
        head, _, value = self.note.partition(": ")
        return value if head == key else None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        yield Block(found["language"], found["body"], found["note"] or "", text.count("\n", 0, found.start()) + 1)


def runnable(page: Path) -> list[Block]:
    return [
        block
        for block in blocks(page)
        if block.after("file") or (block.language in RUN and block.after("not run here") is None)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


class Reader:
    """Somebody who does what a page says, in a folder."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.python = programs / Path("python")
        # `deepdiva` and `python` are those of this environment, as after `source .venv/bin/activate`.
        self.environment = os.environ | {"PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def follow(self, block: Block, place: str) -> None:
        name = block.after("file")
        if name is not None:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body)
        elif block.language == "python":
            code, output = self._run([self.python, "-c", block.body])
            assert code == 0, f"{place}:\n{output}"
        else:
            self._type(block, place)

    def _type(self, block: Block, place: str) -> None:
        lines = block.body.splitlines()
        commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        expected = "\n".join(line for line in lines if not line.startswith("$ "))
        where = self.folder / ".directory"
        script = "\n".join(["set -e", f"trap 'pwd > {where}' EXIT", *commands])
        code, output = self._run(["bash", "-c", script])
        self.folder = Path(where.read_text().strip())
        where.unlink()
        assert code == int(block.after("exit") or 0), f"{place} ended with {code}:\n{output}"
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
        assert re.search(pattern, output, re.DOTALL), f"{place} expected:\n{expected}\ngot:\n{output}"

    def _run(self, words: list[str | Path]) -> tuple[int, str]:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_what_a_page_says_works(page: Path, project: Path, warm_programs: Path):
    reader = Reader(project, warm_programs)
    for block in runnable(page):
        reader.follow(block, f"{name_of(page)}:{block.line}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    assert [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()] == []


def test_few_blocks_are_shown_without_being_run():
    left_out = [f"{name_of(p)}:{b.line}" for p in PAGES for b in blocks(p) if b.after("not run here") is not None]
    assert len(left_out) <= MOST_NOT_RUN, left_out


def test_the_readme_begins_with_the_command_that_ci_runs():
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "console")
    assert first.body == "$ bash setup.sh && .venv/bin/deepdiva run image-classification\n"


def test_an_example_of_the_python_interface_is_short():
    example = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    assert len(example.body.splitlines()) <= 15


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command below a parser, as it is typed."""
    for name, child in completion.subcommands(parser).items():
        yield " ".join((*words, name))
        yield from commands(child, (*words, name))


def test_every_command_is_shown_with_its_help():
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    shown = re.findall(r"^```\{help\} (.+)$", page, re.MULTILINE)
    assert [command for command in commands(build_parser()) if command not in shown] == []
