from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepdiva import RunFolder
from deepdiva.errors import UserError
from deepdiva.experiments.checkout import checkout
from deepdiva.experiments.replay import Replay, World, steps_of
from deepdiva.experiments.toggling import MOST, suspects_among, together, toggled, verdict_of
from deepdiva.runs.difference import Difference


@pytest.fixture
def worlds(run_task: Callable[..., RunFolder]) -> Iterator[tuple[World, World]]:
    a = run_task(epochs=1)
    Path("trembling.py").write_text(Path("trembling.py").read_text() + "# more\n")
    Path("extra.py").write_text("MORE = 1\n")
    b = run_task(epochs=1, seed=1, optimizer={"class": "AdamW", "lr": 0.5})
    with checkout(a) as code_a, checkout(b) as code_b:
        yield World.of(a, code_a), World.of(b, code_b)


def code(name: str) -> Difference:
    return Difference("code", name, "x", "y")


def test_a_setting_and_a_seed_are_exchanged_alone(worlds: tuple[World, World]) -> None:
    a, b = worlds
    with toggled(b, a, Difference("config", "optimizer.lr", "0.02", "0.5")) as world:
        assert world.config["optimizer"] == {**b.config["optimizer"], "lr": 0.02}
        assert world.config["seed"] == 1
    with toggled(b, a, Difference("seed", "seed", "0", "1")) as world:
        assert (world.config["seed"], world.config["optimizer"]["lr"]) == (0, 0.5)
    assert b.config["optimizer"]["lr"] == 0.5


def test_what_a_did_not_set_is_taken_away(worlds: tuple[World, World]) -> None:
    a, b = worlds
    more = b.with_setting("model.extra", 3)
    with toggled(more, a, Difference("config", "model.extra", None, "3")) as world:
        assert "extra" not in world.config["model"]


def test_one_file_of_the_code_is_exchanged_and_put_back(worlds: tuple[World, World]) -> None:
    a, b = worlds
    place = b.code.root / "trembling.py"
    with toggled(b, a, code("trembling.py")) as world:
        assert "# more" not in (world.code.root / "trembling.py").read_text()
    assert "# more" in place.read_text()
    with toggled(b, a, code("extra.py")) as world:
        assert not (world.code.root / "extra.py").exists()
    assert (b.code.root / "extra.py").exists()
    with toggled(a, b, code("extra.py")) as world:
        assert (world.code.root / "extra.py").exists()
    assert not (a.code.root / "extra.py").exists()
    with pytest.raises(UserError, match="no file"), toggled(b, a, code("nowhere.py")):
        pass


def test_variables_threads_and_instruction_sets_are_exchanged(worlds: tuple[World, World]) -> None:
    a, b = worlds
    variable = Difference("environment", "MKL_CBWR", "AVX2", None, part="variable")
    with toggled(b, a, variable) as world:
        assert world.variables["MKL_CBWR"] == "AVX2"
    capability = Difference("environment", "capability", "AVX2", "AVX512", part="torch")
    with toggled(b, a, capability) as world:
        assert world.variables["ATEN_CPU_CAPABILITY"] == "avx2"
    with toggled(b.with_setting("threads", 7), a, Difference("environment", "threads", "1", "7")) as world:
        assert world.config["threads"] == 1
    package = Difference("environment", "torch", "1", "2", part="package")
    with pytest.raises(UserError, match="cannot be exchanged"), toggled(b, a, package):
        pass
    with pytest.raises(UserError, match="cannot be asked for"), toggled(b, a, replace(capability, a="VSX")):
        pass


def test_data_are_exchanged_where_both_versions_are_there(worlds: tuple[World, World]) -> None:
    a, b = worlds
    difference = Difference("data", "train/0.png", "x", "y")
    with pytest.raises(UserError, match="the same place"), toggled(b, a.with_setting("data", None), difference):
        pass
    with toggled(b, a.with_setting("data", "elsewhere"), difference) as world:
        assert world.config["data"] == str((a.code.directory / "elsewhere").resolve())
        assert world.data_of == a.run


def test_all_together_exchanges_what_it_is_given_and_nothing_else(worlds: tuple[World, World]) -> None:
    a, b = worlds
    given = [
        code("trembling.py"),
        Difference("config", "optimizer.lr", "0.02", "0.5"),
        Difference("config", "data", None, "mine"),
        Difference("environment", "MKL_CBWR", "AVX2", None, part="variable"),
        Difference("environment", "torch", "1", "2", part="package"),
    ]
    world = together(b.with_setting("data", "mine").with_setting("workers", 2), a, given)
    assert world.code == a.code
    assert (world.config["optimizer"]["lr"], world.variables["MKL_CBWR"]) == (0.02, "AVX2")
    assert (world.config["data"], world.config["workers"], world.config["seed"]) == ("mine", 2, 1)
    assert together(b, a, []) == b


def test_only_what_can_change_a_result_is_suspected_unless_nothing_else_differs() -> None:
    harmless = Difference("config", "workers", "0", "2", harmless=True)
    place = Difference("environment", "place.host", "x", "y", harmless=True, part="place")
    numbers = Difference("numerics", "aten::mm", "x", "y")
    seed = Difference("seed", "seed", "0", "1")
    assert suspects_among([seed, numbers, harmless, place]) == [seed]
    assert suspects_among([numbers, harmless, place]) == [harmless]
    assert len(suspects_among([replace(seed, what=str(number)) for number in range(20)])) == MOST


def test_the_fingerprints_of_the_steps_decide(worlds: tuple[World, World]) -> None:
    a, b = worlds
    lines: Any = steps_of(a.run)
    assert verdict_of(Replay({1: lines[1]}), a, b) == (True, "")
    assert verdict_of(Replay({1: steps_of(b.run)[1]}), a, b) == (False, "B still computes its own bits")
    assert verdict_of(Replay({1: {**lines[1], "loss": "00"}}), a, b) == (False, "B computes other bits again")
    assert not Replay({}).agrees_with(a.run)
