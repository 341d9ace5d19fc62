"""How Sphinx builds the documentation; `{help}` blocks hold the command line's own words."""

from __future__ import annotations

import contextlib
import io
import os
import re
from importlib.metadata import version as version_of

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

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
    """Adds the `{help}` directive, and reads docstrings as they are written."""
    app.add_directive("help", Help)
    app.connect("autodoc-process-docstring", read_markdown_code, priority=400)
    app.connect("autodoc-process-docstring", keep_attributes, priority=600)
