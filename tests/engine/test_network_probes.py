"""The probes of layers, losses and optimizers go forward and backward without a generator of torch."""

from __future__ import annotations

import pytest
import torch

from deepdiva.engine import network_probes
from deepdiva.engine.probe_inputs import Numbers

GROUPS = ["convolutions", "networks", "images", "losses", "optimizers"]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_draws_nothing_and_gives_the_same_twice(group: str):
    numbers = Numbers(torch.device("cpu"))
    before = torch.get_rng_state()
    for name, probe in getattr(network_probes, group)(numbers):
        one, two = probe(), probe()
        torch.testing.assert_close(one, two, rtol=0, atol=0, msg=name, equal_nan=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_are_probed_with_their_gradients():
    probes = dict(network_probes.networks(Numbers(torch.device("cpu"))))
    output, (gradient,) = probes["LSTM/backward"]()
    assert output.shape == (9, 5, 16)
    assert gradient.shape == (9, 5, 12)
    assert gradient.abs().sum() > 0
