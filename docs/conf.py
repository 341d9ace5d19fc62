"""How Sphinx builds the documentation; `{help}` blocks hold the command line's own words, `{modules}` the modules'."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
from importlib.metadata import version as version_of
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

PACKAGE = Path(__file__).parents[1] / "src" / "deepdiva"

project = "DeepDIVA"
author = "The DeepDIVA authors"
copyright = author
version = release = version_of("deepdiva")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
nitpicky = False

html_theme = "furo"
html_title = f"DeepDIVA {version}"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False


class Help(Directive):
    """What `deepdiva WORDS --help` prints."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = self.arguments[0].split() if self.arguments else []
        text = help_text(words)
        self.state.document.settings.env.note_dependency(__file__)
        return [nodes.literal_block(text, text, language="text")]


def help_text(words: list[str]) -> str:
    """The help of one command, as wide as a page."""
    from deepdiva.cli.main import main

    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


class Modules(Directive):
    """The modules of a room, each with the sentence that it opens with."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        found = nodes.definition_list()
        for path in modules(self.arguments[0]):
            self.state.document.settings.env.note_dependency(str(path))
            name = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
            term = nodes.term("", "", nodes.literal(name, name))
            found += nodes.definition_list_item("", term, nodes.definition("", sentence(path)))
        return [found]


def modules(room: str) -> list[Path]:
    """The files of a room; `errors` is one by itself."""
    alone = PACKAGE / f"{room}.py"
    paths = [alone] if alone.exists() else sorted((PACKAGE / room).rglob("*.py"))
    assert paths, f"there is no room {room}"
    return [path for path in paths if path.name != "__init__.py"]


def sentence(path: Path) -> nodes.paragraph:
    """The first paragraph of a module's docstring, its backticks read as in Markdown."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    parts = text.replace("\n", " ").split("`")
    inline = [nodes.literal(part, part) if place % 2 else nodes.Text(part) for place, part in enumerate(parts)]
    return nodes.paragraph("", "", *inline)


ATTRIBUTES: dict[str, list[str]] = {}
"""Docstrings of attributes and properties, kept from napoleon, which takes what precedes a colon for a type."""


def read_markdown_code(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Turns the single backticks of our docstrings into reStructuredText's double ones."""
    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``", line) for line in lines]
    if what in ("attribute", "property"):
        ATTRIBUTES[name] = list(lines)


def keep_attributes(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Gives attributes their docstrings back after napoleon."""
    if what in ("attribute", "property"):
        lines[:] = ATTRIBUTES.pop(name)


def setup(app: Sphinx) -> None:
    """Adds the `{help}` and `{modules}` directives, and reads docstrings as they are written."""
    app.add_directive("help", Help)
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-docstring", read_markdown_code, priority=400)
    app.connect("autodoc-process-docstring", keep_attributes, priority=600)
