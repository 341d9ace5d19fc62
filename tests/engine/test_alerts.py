"""Operations that stand against a level are heard, with their module, line and phase."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepdiva.engine.alerts import Alert, Alerts, listening
from deepdiva.engine.call_sites import Site

HERE = Path(__file__).parent


class Unpooling(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        pooled, places = nn.functional.max_pool2d(images, 2, return_indices=True)
        return nn.functional.max_unpool2d(pooled, places, 2)


class Rooting(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, images: Tensor) -> Tensor:
        positive = images.abs() + 1
        roots = {"sqrt": torch.sqrt, "power": lambda x: x**0.5, "acos": lambda x: torch.acos(1 / x)}
        return roots[self.how](positive)


def heard(inner: nn.Module, *, backward: bool = True) -> Alerts:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), inner)
    with listening(model, HERE) as alerts:
        output = model(torch.ones(2, 1, 4, 4))
        if backward:
            output.sum().backward()
    return alerts


def test_an_operation_without_a_deterministic_form_is_heard_where_it_is_called():
    (alert,) = heard(Unpooling()).random
    assert "max_unpooling2d" in alert.operation
    assert alert.site.module == "1"
    assert alert.site.phase == "forward"
    assert "test_alerts.py" in alert.site.source
    assert "max_unpool2d(pooled, places, 2)" in alert.site.source
    assert alert.alternative is not None
    assert "interpolate" in alert.alternative
    assert "in 1, test_alerts.py:" in str(alert)


@pytest.mark.parametrize("how", ["sqrt", "power", "acos"])
def test_an_operation_whose_bits_follow_the_processor_is_heard(how: str):
    alerts = heard(Rooting(how))
    assert not alerts.random
    assert alerts.by_processor
    assert all(alert.site.module == "1" for alert in alerts.by_processor)


def test_a_network_of_plain_layers_is_silent():
    inner = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.GELU())
    assert heard(inner) == Alerts({}, {})


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "by hand"])
def test_the_square_root_in_an_optimizer_is_heard_unless_it_is_fused(fused: bool):
    model = nn.Linear(3, 3)
    with listening(model, HERE) as alerts:
        model(torch.ones(1, 3)).sum().backward()
        torch.optim.AdamW(model.parameters(), fused=fused, foreach=False).step()
    assert bool(alerts.by_processor) != fused
    for alert in alerts.by_processor:
        assert alert.site.phase == "optimizer"
        assert "fused" in str(alert.alternative)


@pytest.mark.parametrize("strict", [True, False])
def test_the_switches_are_afterwards_as_before(strict: bool):
    torch.use_deterministic_algorithms(strict)
    with pytest.raises(ValueError, match="ours"), listening(nn.ReLU(), HERE):
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        raise ValueError("ours")
    assert torch.are_deterministic_algorithms_enabled() == strict
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_other_warnings_are_left_for_the_training():
    with listening(nn.ReLU(), HERE) as alerts:
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert alerts == Alerts({}, {})


def test_an_alert_reads_as_one_line():
    alert = Alert("put_", Site("backward", "head.0", "net.py:7: x.put_(i, y)"), None)
    assert str(alert) == "put_ (backward) in head.0, net.py:7: x.put_(i, y)"
    assert str(Alert("put_", Site("forward", "", ""), None)) == "put_"
