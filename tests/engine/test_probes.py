"""The probes cover what trainings are made of, under names of their own."""

from __future__ import annotations

import torch

from deepdiva.engine.probes import probes

CPU = torch.device("cpu")


def test_every_probe_has_a_name_of_its_own_and_the_order_is_fixed():
    names = [name for name, _ in probes(CPU)]
    assert len(names) == len(set(names))
    assert names == [name for name, _ in probes(CPU)]


def test_what_trainings_are_made_of_is_among_them():
    names = " ".join(name for name, _ in probes(CPU))
    for word in ("exp/bfloat16", "sum/100000", "mm/", "conv3d", "softmax/dim 0", "batch_norm", "LSTM", "attention"):
        assert word in names
    for word in ("cross_entropy", "AdamW/fused", "randn", "sort", "index_put", "interpolate", "embedding", "ctc_loss"):
        assert word in names


def test_a_probe_may_be_computed_after_all_others_were_named():
    wanted = {"sum/7", "sum/1000", "mv/31", "exp/float32", "randn/10"}
    now = {name: probe() for name, probe in probes(CPU) if name in wanted}
    kept = [(name, probe) for name, probe in list(probes(CPU)) if name in wanted]
    assert all(torch.equal(probe(), now[name]) for name, probe in kept)
