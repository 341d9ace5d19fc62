"""Short names of the networks."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from deepdiva.models import NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_short_name_leads_to_a_network(name: str) -> None:
    from torch import nn

    module, _, attribute = NAMES[name].partition(":")
    assert issubclass(getattr(import_module(module), attribute), nn.Module)


def test_the_list_of_names_does_not_import_torch() -> None:
    code = "import sys, deepdiva.models; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
