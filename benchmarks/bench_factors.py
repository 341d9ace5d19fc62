"""What changes the bits of a training, and at which level of determinism: one small training for each factor.

Command:   .venv/bin/python benchmarks/bench_factors.py
Expected:  the table of docs/explanation/factors.md, and no line that says `expected` (some ten minutes on two cores)
A small network with dropout and batch normalisation learns digits from a folder of images that are moved at random,
for two epochs, with a schedule and a moving average of the weights. It is trained once for each factor and level, each
time in a process of its own, and compared with the training where the factor was left alone: final weights, state of
optimizer and schedule, and the digests of every step on the way. `--factor WORD` and `--level LEVEL` choose some.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepdiva.config.layers import put
from deepdiva.engine import determinism
from deepdiva.engine.determinism import LEVELS
from deepdiva.experiments.fresh import Request, serve, train_fresh
from deepdiva.runs.folder import RunFolder

TASK = '''
"""Digits from a folder of images, in a task that can be made to do what changes bits."""

import functools
import os
import random
import signal
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils import data

from deepdiva.tasks.image_classification import ImageClassification


@dataclass(frozen=True)
class Digits(ImageClassification):
    """Digits.

    Args:
        extra_draws: Numbers drawn from every global generator after every forward pass.
        onednn: Whether torch may compute with oneDNN.
        backend: What the model is compiled by; none leaves it as it is.
        start_method: How loader processes are started.
        persistent: Whether they live on between epochs.
        prefetch: Batches that each of them loads ahead.
    """

    extra_draws: int = 0
    onednn: bool = True
    backend: str = "none"
    start_method: str = "fork"
    persistent: bool = True
    prefetch: int = 2

    def load_data(self, source):
        if not self.onednn:
            torch.backends.mkldnn.enabled = False
        chosen = {"persistent_workers": self.persistent, "prefetch_factor": self.prefetch}
        chosen["multiprocessing_context"] = self.start_method
        data.DataLoader = functools.partial(_loader, chosen)
        return super().load_data(source)

    def build_model(self, build):
        layers = [nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 16, 3)]
        layers += [nn.SiLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16 * 4 * 4, 10)]
        model = nn.Sequential(*layers)
        return model if self.backend == "none" else torch.compile(model, backend=self.backend)

    def step(self, model, batch):
        output = super().step(model, batch)
        torch.rand(self.extra_draws), np.random.rand(self.extra_draws)
        [random.random() for _ in range(self.extra_draws)]
        if model.training:
            _stop()
        return output


STEPS = []


def _stop():
    """Ctrl+C in the step that a variable names."""
    STEPS.append(1)
    if str(len(STEPS)) == os.environ.get("INTERRUPT_AT"):
        os.kill(os.getpid(), signal.SIGINT)


def _loader(chosen, *words, **settings):
    return _DATA_LOADER(*words, **{**settings, **chosen})


_DATA_LOADER = data.DataLoader
'''

SETTINGS: Mapping[str, Any] = {
    "task": {"class": "digits_task.py:Digits", "augment": ["random_shift"]},
    "data": "images",
    "seed": 7,
    "threads": 2,
    "epochs": 2,
    "batch_size": 20,  # of every split the last batch is whole: another size would be compiled anew
    "allow_dirty": True,
    "training": {"ema": 0.9, "clip_norm": 1.0},
    "logging": {"figures": "none", "tensorboard": False},
}
IMPORTED = (
    "sklearn.metrics",
    "torch._inductor.compile_fx",
    "torch.utils.data",
    "deepdiva.experiments.resume",
    "deepdiva.experiments.train",
    "deepdiva.tasks.image_classification",
    "deepdiva.visualization.images",
)
IMAGES = {"train": 120, "val": 40, "test": 40}
"""How many images of a split there are: some of each of the ten digits."""


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Args:
        settings: What differs in the configuration, by dotted paths.
        variables: Environment variables that are set outside, before `deepdiva` starts.
        cores: On how many cores the process may run; None for all.
        interrupt: After which step it is interrupted by SIGINT, and resumed.
        kill: After which step it is killed by SIGKILL, and resumed.
        elsewhere: Whether project and data are copied to other places.
        above: Whether it is started in the directory above the project.
        repeated: Whether what counts is another training, from the recorded configuration, on all cores.
        own_cache: Whether nothing that was compiled before is at hand.
        fresh: Whether it is trained by a process that was executed anew.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    cores: int | None = None
    interrupt: int | None = None
    kill: int | None = None
    elsewhere: bool = False
    above: bool = False
    repeated: bool = False
    own_cache: bool = False
    fresh: bool = False


_WATCHED = {
    "logging.every": 1,
    "logging.tensorboard": True,
    "logging.figures": "validation",
    "logging.validate_steps": 3,
    "training.checkpoint_every": 3,
}
_COMPILED = {"task.backend": "inductor"}
LOCALE = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "4711", "HOME": "/nowhere", "COLUMNS": "40"}
VARIANTS: Mapping[str, Variant] = {
    "plain": Variant(),
    "again": Variant(fresh=True),
    "1 worker": Variant({"workers": 1}),
    "2 workers": Variant({"workers": 2}),
    "4 workers": Variant({"workers": 4}),
    "not persistent": Variant({"workers": 2, "task.persistent": False}),
    "prefetch": Variant({"workers": 2, "task.prefetch": 7}),
    "spawn": Variant({"workers": 2, "task.start_method": "spawn"}),
    "watched": Variant(_WATCHED),
    "extra draws": Variant({"task.extra_draws": 5}),
    "elsewhere": Variant(elsewhere=True),
    "above": Variant(above=True),
    "locale": Variant(variables=LOCALE, fresh=True),
    "SIGINT": Variant(interrupt=5),
    "SIGKILL": Variant(kill=8),
    "1 thread": Variant({"threads": 1}),
    "1 core": Variant(cores=1),
    "default threads, 1 core": Variant({"threads": None}, cores=1),
    "repeated": Variant({"threads": None}, cores=1, repeated=True),
    "MKL_CBWR": Variant(variables={"MKL_CBWR": "COMPATIBLE"}, fresh=True),
    "ATEN avx2": Variant(variables={"ATEN_CPU_CAPABILITY": "avx2"}, fresh=True),
    "ATEN default": Variant(variables={"ATEN_CPU_CAPABILITY": "default"}, fresh=True),
    "oneDNN AVX2": Variant(variables={"ONEDNN_MAX_CPU_ISA": "AVX2"}, fresh=True),
    "oneDNN off": Variant({"task.onednn": False}),
    "aot_eager": Variant({"task.backend": "aot_eager"}),
    "compiled": Variant(_COMPILED),
    "compiled again": Variant(_COMPILED, own_cache=True),
    "compiled, SIGKILL": Variant(_COMPILED, kill=8),
    "another seed": Variant({"seed": 8}),
}


@dataclass(frozen=True)
class Factor:
    """A row of the table.

    Args:
        name: What is varied.
        variants: In which ways.
        expected: `same` or `differs` at each level, in the order of `LEVELS`; one word for all of them.
        granted: The level that is granted in place of `portable`.
        first: What they are compared with.
    """

    name: str
    variants: Sequence[str]
    expected: str = "same"
    first: str = "plain"
    granted: str = "portable"

    def expectation(self, level: str) -> str:
        """What is expected at `level`."""
        words = self.expected.split()
        word = words[LEVELS.index(level)] if len(words) > 1 else words[0]
        return word + (f", only `{self.granted}` granted" if (level, self.granted) == ("portable", "invariant") else "")


FACTORS = (
    Factor("another process", ["again"]),
    Factor("loader workers: 0, 1, 2, 4", ["1 worker", "2 workers", "4 workers"]),
    Factor("loader processes that end with each epoch", ["not persistent"]),
    Factor("batches loaded ahead: 2, 7", ["prefetch"]),
    Factor("loader processes forked or spawned", ["spawn"]),
    Factor("logging, figures, TensorBoard, validations, checkpoints", ["watched"]),
    Factor("more draws from the global generators in the task", ["extra draws"]),
    Factor("project and data at other paths", ["elsewhere"]),
    Factor("another working directory", ["above"]),
    Factor("time zone, locale, PYTHONHASHSEED", ["locale"]),
    Factor("SIGINT in a step, and resume", ["SIGINT"]),
    Factor("SIGKILL, and resume", ["SIGKILL"]),
    Factor("threads: 2, 1", ["1 thread"], "differs differs differs same"),
    Factor("2 threads on 1 core", ["1 core"]),
    Factor("cores, where `threads` is not set", ["default threads, 1 core"], "differs differs differs same"),
    Factor("cores, with the recorded configuration", ["repeated"], first="default threads, 1 core"),
    Factor("MKL_CBWR set outside", ["MKL_CBWR"], "differs same same same"),
    Factor("ATEN_CPU_CAPABILITY set outside", ["ATEN avx2", "ATEN default"], "differs differs differs same"),
    Factor("ONEDNN_MAX_CPU_ISA set outside", ["oneDNN AVX2"], "differs differs differs same"),
    Factor("oneDNN switched off", ["oneDNN off"], "differs differs differs same"),
    Factor("torch.compile, backend aot_eager", ["aot_eager"], granted="invariant"),
    Factor("torch.compile", ["compiled"], "differs", granted="invariant"),
    Factor("torch.compile, compiled again", ["compiled again"], first="compiled", granted="invariant"),
    Factor("torch.compile, SIGKILL, and resume", ["compiled, SIGKILL"], first="compiled", granted="invariant"),
    Factor("another seed", ["another seed"], "differs"),
)


@dataclass(frozen=True)
class Outcome:
    """What is compared of a run."""

    path: str
    granted: str
    digests: Mapping[str, str]
    steps: Sequence[Mapping[str, Any]]

    def equals(self, other: Outcome) -> bool:
        """Whether both have the same bits at the end and in every step."""
        return (self.digests, self.steps) == (other.digests, other.steps)


def make_project(folder: Path) -> None:
    """Writes the task, and the digits as images."""
    from PIL import Image

    from deepdiva.data.arrays import load_digits

    folder.mkdir()
    (folder / "digits_task.py").write_text(TASK)
    digits = load_digits()
    for split, count in IMAGES.items():
        samples = getattr(digits, split)
        for place in range(count):
            image, target = samples[place]
            path = folder / "images" / split / str(int(target)) / f"{place:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(path)


def train_variants(variants: Mapping[str, Variant], level: str, folder: Path) -> dict[str, Outcome]:
    """Trains in every way, one after the other, each in a process forked from this one or a fresh one.

    Args:
        variants: By name.
        level: The level of determinism; its variables are set already.
        folder: Where the project is.
    """
    warm()
    outcomes = {}
    for name, variant in variants.items():
        print(f"{level}: {name}", file=sys.stderr, flush=True)
        place = folder / level / name.replace(" ", "-")
        place.mkdir(parents=True)
        outcomes[name] = train_variant(variant, level, folder / "project", place)
    return outcomes


def warm() -> None:
    """Imports what a training imports, so that those forked from this process need not; nothing is computed."""
    for name in IMPORTED:
        importlib.import_module(name)


def train_variant(variant: Variant, level: str, project: Path, place: Path) -> Outcome:
    """One training to its end, also where it is stopped on the way.

    Args:
        variant: How.
        level: The level of determinism.
        project: Where the task and the data are.
        place: A folder of this training's own.
    """
    request = request_of(variant, level, project, place)
    cores = os.sched_getaffinity(0)
    if variant.cores is not None:
        os.sched_setaffinity(0, sorted(cores)[: variant.cores])
    try:
        run = _to_the_end(request, variant, place)
    finally:
        os.sched_setaffinity(0, cores)
    if variant.repeated:
        run = _finished(train(Request(run.config(), request.directory), variant, place))
    digests = {name: run.digests[name] for name in ("data", "weights", "state")}
    return Outcome(str(run.path), run.record["determinism"]["granted"], digests, list(run.fingerprints()))


def train(request: Request, variant: Variant, place: Path) -> RunFolder | None:
    """Trains in a process of its own; None where that was stopped.

    Libraries read variables when they load: only a fresh process minds them. Any other is forked from this one, which
    saves most of the time.
    """
    answer = place / "answer.json"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ.update({name: value for name, value in request.variables.items() if value is not None})
            os.environ.update(variant.variables)
            log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if variant.fresh:
                answer.write_text(json.dumps({"path": str(train_fresh(request).path)}))
                code = 0
            else:
                code = _serve_here(request, answer)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.waitpid(child, 0)
    document = json.loads(answer.read_text()) if answer.exists() else {}
    return RunFolder.open(document["path"]) if "path" in document else None


def _serve_here(request: Request, answer: Path) -> int:
    """What the fresh process of `train_fresh` does, in this one."""
    reader, writer = os.pipe()  # the writer stays open: where it is closed, the training is interrupted
    os.write(writer, json.dumps(asdict(request)).encode() + b"\n")
    os.dup2(reader, 0)
    os.chdir(request.directory)
    return serve(answer)


def _finished(run: RunFolder | None) -> RunFolder:
    if run is None:
        raise RuntimeError("a training did not end; see the file log beside its runs")
    return run


def request_of(variant: Variant, level: str, project: Path, place: Path) -> Request:
    """The training, where it shall happen."""
    values = copy.deepcopy(dict(SETTINGS))
    for path, value in {"determinism": level, "runs_dir": str(place / "runs"), **variant.settings}.items():
        put(values, path, value)
    if level == "portable" and values["threads"] is not None:
        values["threads"] = 1  # the one number that the level has; another is told, and lowers it
    if variant.elsewhere:
        copied = place / "elsewhere" / "project"
        shutil.copytree(project, copied)
        (copied / "images").rename(place / "images of digits")
        values["data"] = str(place / "images of digits")
        project = copied
    if variant.above:
        values["task"]["class"] = f"{project.name}/{values['task']['class']}"
        values["data"] = f"{project.name}/{values['data']}"
        project = project.parent
    cache = place if variant.own_cache else project.parent / f"compiled-{level}"
    variables = {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    if variant.interrupt is not None:
        variables["INTERRUPT_AT"] = str(variant.interrupt)
    return Request(
        values,
        str(project),
        variables=variables,
        kill=None if variant.kill is None else (variant.kill, 0.0),
    )


def _to_the_end(request: Request, variant: Variant, place: Path) -> RunFolder:
    """The finished run, resumed where it was stopped."""
    run = train(request, variant, place)
    if variant.interrupt is None and variant.kill is None:
        return _finished(run)
    [record] = place.glob("runs/*/*/run.json")
    stopped = RunFolder.open(record.parent)
    if run is not None or stopped.status != "interrupted":
        raise RuntimeError(f"{stopped.path} was not stopped")
    variables = {name: value for name, value in request.variables.items() if name != "INTERRUPT_AT"}
    again = Request(request.config, request.directory, resume=str(stopped.path), variables=variables)
    return _finished(train(again, variant, place))


def table(answers: Mapping[tuple[str, str], str], factors: Sequence[Factor] = FACTORS) -> str:
    """The answers for (factor, level) in Markdown."""
    levels = [level for level in LEVELS if any((factor.name, level) in answers for factor in factors)]
    lines = [f"| factor | {' | '.join(f'`{level}`' for level in levels)} |", "|-" * (len(levels) + 1) + "|"]
    lines += [f"| {each.name} | {' | '.join(answers[each.name, level] for level in levels)} |" for each in factors]
    return "\n".join(lines)


def expected_table() -> str:
    """The table as it should be."""
    return table({(each.name, level): each.expectation(level) for each in FACTORS for level in LEVELS})


def answer(factor: Factor, level: str, found: Mapping[str, Outcome]) -> str:
    """`same` or `differs`, and the level that was granted if it is another; what was not expected is printed."""
    first, others = found[factor.first], [found[name] for name in factor.variants]
    equal = [first.equals(other) for other in others]
    text = "same" if all(equal) else "differs" if not any(equal) else "some differ"
    lowered = {outcome.granted for outcome in [first, *others]} - {level}
    text += "".join(f", only `{name}` granted" for name in sorted(lowered))
    if text != factor.expectation(level):
        paths = "".join(f"\n    {outcome.path}" for outcome in [first, *others])
        print(f"{factor.name}, {level}: {text}, expected {factor.expectation(level)}{paths}")
    return text


def measure(
    factors: Sequence[Factor], levels: Sequence[str], folder: Path, processes: int
) -> dict[tuple[str, str], str]:
    """Trains all that the factors need, some levels at a time, and compares."""
    make_project(folder / "project")
    names = dict.fromkeys(name for factor in factors for name in (factor.first, *factor.variants))
    asked = json.dumps({name: asdict(VARIANTS[name]) for name in names})

    def ask(level: str) -> dict[str, Outcome]:
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", level, "--keep", str(folder)]
        environment = determinism.environment_of_new_process(level)
        subprocess.run(command, input=asked, text=True, env=environment, check=True)
        documents = json.loads((folder / f"{level}.json").read_text())
        return {name: Outcome(**document) for name, document in documents.items()}

    with ThreadPoolExecutor(processes) as pool:
        found = dict(zip(levels, pool.map(ask, levels), strict=True))
    return {(factor.name, level): answer(factor, level, found[level]) for factor in factors for level in levels}


def main() -> int:
    """Prints the table; the exit status says whether all was as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", default="", help="only those whose name contains this")
    parser.add_argument("--level", choices=LEVELS, action="append", help="only this level; may be repeated")
    parser.add_argument("--processes", type=int, default=2, help="levels at a time")
    parser.add_argument("--serve", choices=LEVELS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder, to ask `deepdiva why`")
    arguments = parser.parse_args()
    if arguments.serve is not None:
        variants = {name: Variant(**fields) for name, fields in json.load(sys.stdin).items()}
        outcomes = train_variants(variants, arguments.serve, arguments.keep)
        document = {name: asdict(outcome) for name, outcome in outcomes.items()}
        (arguments.keep / f"{arguments.serve}.json").write_text(json.dumps(document))
        return 0
    factors = [factor for factor in FACTORS if arguments.factor in factor.name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary) / "factors").absolute()
        folder.mkdir(parents=True)
        answers = measure(factors, arguments.level or LEVELS, folder, arguments.processes)
    print(table(answers, factors))
    named = {factor.name: factor for factor in factors}
    return int(any(named[name].expectation(level) != text for (name, level), text in answers.items()))


if __name__ == "__main__":
    sys.exit(main())
