"""One frozen tree of settings: read, override, check, write; and the components that it names."""

from deepdiva.config.components import build, complete, components_in, problems_in
from deepdiva.config.explain import explain
from deepdiva.config.layers import Layer, from_config, from_mapping, read_file
from deepdiva.config.locate import Kind, locate
from deepdiva.config.options import Option, options
from deepdiva.config.resolve import Resolved, resolve, search_ranges, task_name, task_settings
from deepdiva.config.search import SearchRange
from deepdiva.config.settings import TaskInfo
from deepdiva.config.tree import Config, Logging, Training, digest
from deepdiva.config.values import Component, Range
from deepdiva.config.words import parse_words

__all__ = [
    "Component",
    "Config",
    "Kind",
    "Layer",
    "Logging",
    "Option",
    "Range",
    "Resolved",
    "SearchRange",
    "TaskInfo",
    "Training",
    "build",
    "complete",
    "components_in",
    "digest",
    "explain",
    "from_config",
    "from_mapping",
    "locate",
    "options",
    "parse_words",
    "problems_in",
    "read_file",
    "resolve",
    "search_ranges",
    "task_name",
    "task_settings",
]
