"""The explained configuration is the configuration, with a place behind every value."""

from __future__ import annotations

from deepdiva.config import explain
from deepdiva.config.yaml_reader import read_text

TEXT = """\
epochs: 3
task:
  augment:
    - Flip
    - class: Blur
      p: 0.5
"""


def test_every_value_has_its_place(from_yaml):
    explained = explain(from_yaml(TEXT, words=["--model.width", "3"]))
    lines = [" ".join(line.split()) for line in explained.splitlines()]
    assert "epochs: 3 # run.yaml:1" in lines
    assert "augment: # run.yaml:3" in lines
    assert "p: 0.5 # run.yaml:3" in lines
    assert "class: cnn # task preset" in lines
    assert "width: 3 # --model.width" in lines
    assert "seed: null # default" in lines
    assert "training:" in lines
    assert "class: reading # command line" in lines
    named = explain(from_yaml("task: reading")).splitlines()
    assert named[1].split("#")[1] == " run.yaml:1"


def test_it_reads_back_to_the_same_configuration(from_yaml):
    resolved = from_yaml(TEXT)
    document = read_text(explain(resolved), "x")
    assert document.problems == []
    assert document.values == resolved.config.to_mapping()
