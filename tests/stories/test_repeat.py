"""A finished run's config.yaml repeats it to the bit; `--print-config` says what will run, and why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.stories.conftest import Cli, Run

from deepdiva.config import read_file
from deepdiva.runs.folder import RunFolder

POINTS = ("points", "--n", 100, "--epochs", 3)


def test_the_config_of_a_run_repeats_it_to_the_bit(run: Run):
    first = run(*POINTS, "--optimizer", "SGD", "--optimizer.lr", 0.1, "--scheduler", "CosineAnnealingLR")
    second = run("--config", first.path / "config.yaml", quick=False)
    assert second.path != first.path
    assert second.digests == first.digests
    assert {"config", "code", "data", "environment", "weights", "state", "metrics"} <= set(second.digests)
    assert (second.path / "config.yaml").read_bytes() == (first.path / "config.yaml").read_bytes()
    assert second.results == first.results


def test_the_script_in_the_folder_repeats_the_run_by_hand(
    run: Run, commit: Callable[..., None], digits: Path, project: Path, tmp_path: Path
):
    (project / "nets").mkdir()
    commit(
        **{
            "nets/small.py": "from deepdiva.models.mlp import MLP\n\n\nclass Small(MLP):\n    pass\n",
            ".gitignore": "runs/\npng/\n__pycache__/\n",
        }
    )
    shutil.copytree(digits, project / "png")
    first = run("image-classification", "--data", "png", "--model", "nets/small.py:Small", "--epochs", 1)
    program = tmp_path / "bin" / "deepdiva"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deepdiva.cli.main "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["sh", first.path / "reproduce.sh", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    second = RunFolder.open(json.loads(done.stdout)["path"])
    assert second.path.parent == first.path.parent
    same = ("config", "data", "weights", "state", "metrics")
    assert [second.digests[name] for name in same] == [first.digests[name] for name in same]


def test_a_drawn_seed_is_recorded_and_repeats_the_run(run: Run):
    words = (*POINTS, "--threads", 1, "--figures", "none")
    first, other = run(*words, quick=False), run(*words, quick=False)
    assert first.record["seed"] == first.config()["seed"] != other.record["seed"]
    assert first.digests["weights"] != other.digests["weights"]
    again = run("--config", first.path / "config.yaml", quick=False)
    assert again.digests == first.digests


def test_zero_is_a_seed(run: Run):
    first, second, other = (run(*POINTS, *_seed(seed), quick=False) for seed in (0, 0, 1))
    assert first.record["seed"] == 0
    assert first.digests == second.digests
    assert first.digests["weights"] != other.digests["weights"]


def _seed(seed: int) -> tuple[object, ...]:
    return "--seed", seed, "--threads", 1, "--figures", "none"


def test_augmented_images_repeat_and_every_default_is_recorded(run: Run):
    augment = "[RandomHorizontalFlip, {class: RandomAffine, degrees: 10, translate: [0.1, 0.1]}]"
    first = run("image-classification", "--epochs", 1, "--augment", augment, "--loss.label_smoothing", 0.1)
    second = run("--config", first.path / "config.yaml", quick=False)
    assert second.digests == first.digests
    assert (second.path / "config.yaml").read_bytes() == (first.path / "config.yaml").read_bytes()
    task = first.config()["task"]
    assert task["augment"][0] == {"class": "RandomHorizontalFlip", "p": 0.5}
    assert task["loss"]["label_smoothing"] == 0.1
    assert task["loss"]["reduction"] == "mean"


def test_what_stands_on_the_command_line_wins_over_the_file(run: Run):
    first = run(*POINTS)
    second = run("--config", first.path / "config.yaml", "--epochs", 1, "--experiment", "shorter", quick=False)
    assert second.config()["epochs"] == 1
    assert second.path.parent.name == "shorter"
    assert second.digests["config"] != first.digests["config"]
    assert second.digests["data"] == first.digests["data"]


def test_print_config_does_nothing_and_can_be_run(cli: Cli, run: Run, project: Path):
    answer = cli("run", *POINTS, "--seed", 3, "--print-config")
    assert answer.code == 0
    assert not (project / "runs").exists()
    (project / "deepdiva.toml").write_text('code = "snapshot"\n')
    (project / "printed.yaml").write_text(answer.out)
    assert read_file("printed.yaml").values["epochs"] == 3
    again = cli("run", "--config", "printed.yaml", "--print-config")
    assert again.out == answer.out


def test_origins_say_where_each_value_came_from(cli: Cli, project: Path):
    (project / "one.yaml").write_text("epochs: 7\noptimizer:\n  class: SGD\n  momentum: 0.5\n")
    (project / "two.yaml").write_text("\nepochs: 8\n")
    words = ("--config", "one.yaml", "--config=two.yaml", "--optimizer.momentum", 0.9, "--origins", "--print-config")
    lines = {
        line.split("#")[0].strip(): line.partition("# ")[2] for line in cli("run", "points", *words).out.split("\n")
    }
    assert lines["epochs: 8"] == "two.yaml:2"
    assert lines["class: SGD"] == "one.yaml:3"
    assert lines["momentum: 0.9"] == "--optimizer.momentum"
    assert lines["batch_size: 32"] == "task preset"
    assert lines["workers: 0"] == "default"
