"""A configuration as YAML with the place that each of its values came from."""

from __future__ import annotations

import re

from deepdiva.config.resolve import Resolved
from deepdiva.config.values import CLASS
from deepdiva.config.yaml_writer import write_lines

_WIDEST = 60


def explain(resolved: Resolved) -> str:
    """The configuration as YAML, with a comment behind every value: `epochs: 3  # run.yaml:2`."""
    lines = write_lines(resolved.config.to_mapping())
    width = max(len(line) for _, line in lines if len(line) <= _WIDEST)
    explained = []
    for path, line in lines:
        explained.append(f"{line:<{width}}  # {_place(resolved, path)}\n" if path else f"{line}\n")
    return "".join(explained)


def _place(resolved: Resolved, path: str) -> str:
    """Where a value came from: what is known of it, of the component it names, or of the list it stands in."""
    component = path.removesuffix(f".{CLASS}")
    whole_list = re.split(r"\.\d+(?:\.|$)", path)[0]
    known = [place for place in (path, component, whole_list) if place in resolved.origins]
    return resolved.origins[known[0]] if known else "default"
