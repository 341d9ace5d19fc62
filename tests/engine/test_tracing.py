"""A traced step computes the same bits as any other, and two recordings tell where their bits part."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_pre_hooks
from torch.utils._pytree import tree_leaves

from deepdiva.engine.check import Subject
from deepdiva.engine.fingerprint import state_digest
from deepdiva.engine.tensor_origins import text_of
from deepdiva.engine.tracing import tracing
from deepdiva.engine.trainer import Trainer
from deepdiva.models.cnn import CNN
from deepdiva.runs.operations import (
    DATA,
    GENERATOR,
    OperationDifference,
    changed_tensors,
    first_difference,
    read_operations,
    read_recording,
)
from deepdiva.tasks.image_classification import ImageClassification

ROOT = Path(__file__).parent
FUSED = partial(torch.optim.AdamW, fused=True)


class Small(nn.Module):
    """Convolution, batch normalisation, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3))
        self.fc = nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x).flatten(1))


class Sequence(nn.Module):
    """A recurrent network and attention over the columns of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.attention(self.rnn(x.squeeze(1))[0]).mean(1))


class Bench:
    """A small training by hand: `Bench().train(trace=path)` traces its third step.

    Args:
        network: What is trained.
        optimizer: Made from the parameters.
        precision: Autocast to bfloat16 where it says so.
        accumulate: Batches a step.
    """

    def __init__(
        self,
        network: Callable[[], nn.Module] = Small,
        optimizer: Callable[..., torch.optim.Optimizer] = FUSED,
        *,
        precision: str = "float32",
        accumulate: int = 1,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.model = network().train()
        self.optimizer = optimizer(self.model.parameters(), lr=0.01)
        self.context: Any = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
        self.accumulate = accumulate
        self.batches = [(torch.randn(6, 1, 8, 8), torch.randint(0, 3, (6,))) for _ in range(5)]

    def step(self, number: int) -> None:
        torch.manual_seed(number)
        for place in range(self.accumulate):
            inputs, targets = self.batches[(number + place) % 5]
            with self.context:
                loss = nn.functional.cross_entropy(self.model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def train(self, trace: Path | None = None) -> str:
        for number in range(4):
            with tracing(trace, self.model, ROOT) if trace and number == 2 else nullcontext():
                self.step(number)
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state_digest({**state, "random": torch.get_rng_state()})


BENCHES: dict[str, dict[str, Any]] = {
    "fused": {},
    "foreach": {"optimizer": partial(torch.optim.Adam, foreach=True)},
    "loop": {"optimizer": partial(torch.optim.Adam, foreach=False)},
    "momentum": {"optimizer": partial(torch.optim.SGD, momentum=0.9)},
    "accumulate": {"accumulate": 2},
    "bfloat16": {"precision": "bfloat16"},
    "sequence": {"network": Sequence},
    "cnn": {"network": partial(CNN, num_classes=3, width=4)},
}


@pytest.mark.parametrize("name", sorted(BENCHES))
def test_a_traced_step_computes_the_same_bits_and_draws_no_random_number(name: str, tmp_path: Path):
    plain = Bench(**BENCHES[name]).train()
    assert Bench(**BENCHES[name]).train(tmp_path / "trace.jsonl") == plain
    again = Bench(**BENCHES[name])
    again.train(tmp_path / "again.jsonl")
    one, other = (read_recording(tmp_path / f"{name}.jsonl") for name in ("trace", "again"))
    assert one == other
    assert first_difference(one.operations, other.operations) is None
    assert {operation.phase for operation in one.operations} >= {"forward", "backward", "optimizer"}


def test_the_starting_state_and_the_optimizer_are_in_the_recording(tmp_path: Path):
    bench = Bench()
    bench.train(tmp_path / "trace.jsonl")
    recording = read_recording(tmp_path / "trace.jsonl")
    names = {"parameter layers.0.weight", "buffer layers.1.running_mean", "optimizer's exp_avg of fc.weight"}
    assert names <= set(recording.tensors)
    assert recording.error is None
    assert recording.setting == {"torch": str(torch.__version__), "threads": 1}


def test_what_an_operation_changes_is_hashed_though_it_returns_nothing(tmp_path: Path):
    bench = Bench()
    bench.train(tmp_path / "trace.jsonl")
    operations = {operation.name: operation for operation in read_operations(tmp_path / "trace.jsonl")}
    fused = operations["aten::_fused_adamw_.default"]
    assert len(fused.outputs) == 4 * 6, "six parameters, their gradients and two averages"
    assert "parameter fc.weight" in fused.origins
    assert "optimizer's exp_avg of fc.weight" in fused.origins
    assert sum(before != after for before, after in zip(fused.inputs[:24], fused.outputs, strict=True)) == 3 * 6
    assert "lr=0.01" in fused.arguments
    assert len(operations["aten::native_batch_norm.default"].outputs) == 3 + 2, "with the running statistics"


def test_a_view_is_not_hashed_and_keeps_its_origin(tmp_path: Path):
    Bench().train(tmp_path / "trace.jsonl")
    operations = read_operations(tmp_path / "trace.jsonl")
    turned = next(operation for operation in operations if operation.name == "aten::t.default")
    assert turned.inputs == ("cpu float32[3, 144]",)
    product = next(operation for operation in operations if operation.name == "aten::addmm.default")
    assert product.origins[0] == "parameter fc.bias"
    assert product.origins[2] == "parameter fc.weight"


def test_what_an_operation_notes_for_its_derivative_is_not_compared(tmp_path: Path):
    """Recurrent layers give it gaps that nothing writes: it differs from time to time, and no result with it."""
    Bench(Sequence).train(tmp_path / "trace.jsonl")
    operations = {operation.name: operation for operation in read_operations(tmp_path / "trace.jsonl")}
    layer = operations["aten::mkldnn_rnn_layer.default"]
    assert [len(text.split("] ")) for text in layer.outputs] == [2, 2, 2, 1], "no hash for the last"
    assert layer.outputs[3].startswith("cpu uint8[")
    assert layer.outputs[3] in operations["aten::mkldnn_rnn_layer_backward.default"].inputs


def test_a_step_that_fails_leaves_what_it_did_and_no_hook(tmp_path: Path):
    bench = Bench()
    bench.batches[2] = (torch.ones(6, 1, 8, 9), bench.batches[2][1])
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        bench.train(tmp_path / "trace.jsonl")
    recording = read_recording(tmp_path / "trace.jsonl")
    assert recording.error is not None
    assert recording.error.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert recording.operations[-1].name == "aten::addmm.default"
    assert recording.operations[-1].outputs == ()
    assert not nn.modules.module._global_forward_hooks
    assert not _global_optimizer_pre_hooks


# -- what differs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., OperationDifference | None]:
    """The first difference between the ordinary bench and one that was changed before training."""

    def call(change: Callable[[Bench], Any] = lambda bench: None, **settings: Any) -> OperationDifference | None:
        for name, do in {"a": lambda bench: None, "b": change}.items():
            bench = Bench(**(settings if name == "b" else {}))
            do(bench)
            with tracing(tmp_path / f"{name}.jsonl", bench.model, ROOT):
                bench.step(0)
        return first_difference(*(read_operations(tmp_path / f"{name}.jsonl") for name in "ab"))

    return call


Compare = Callable[..., OperationDifference | None]


def test_the_same_again_has_no_difference(compare: Compare):
    assert compare() is None


def found(difference: OperationDifference | None) -> tuple[str, str, tuple[str, ...]]:
    assert difference is not None
    operation = difference.first or difference.second
    assert operation is not None
    return difference.kind, operation.name, difference.reasons


def test_another_pixel_is_data(compare: Compare):
    def change(bench: Bench) -> None:
        bench.batches[0][0][3, 0, 2, 2] += 2**-20

    assert found(compare(change)) == ("input", "aten::convolution.default", (DATA,))


def test_another_label_is_data(compare: Compare):
    def change(bench: Bench) -> None:
        bench.batches[0][1][3] = (bench.batches[0][1][3] + 1) % 3

    assert found(compare(change)) == ("input", "aten::nll_loss_forward.default", (DATA,))


PARTS = {
    "layers.0.bias": ("aten::convolution.default", "parameter layers.0.bias"),
    "layers.1.running_var": ("aten::native_batch_norm.default", "buffer layers.1.running_var"),
    "fc.weight": ("aten::addmm.default", "parameter fc.weight"),
}


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_changed_parameter_or_buffer_is_named(compare: Compare, tmp_path: Path, name: str):
    def change(bench: Bench) -> None:
        tensor = bench.model.state_dict()[name].view(-1)
        tensor[0] = torch.nextafter(tensor[0], torch.tensor(9.0))

    operation, origin = PARTS[name]
    assert found(compare(change)) == ("input", operation, (origin,))
    assert changed_tensors(*(read_recording(tmp_path / f"{name}.jsonl") for name in "ab")) == [origin]


def test_another_state_of_the_random_generator_is_named(compare: Compare):
    def change(bench: Bench) -> None:
        bench.model.layers.register_forward_pre_hook(lambda module, arguments: torch.manual_seed(9) and None)

    difference = compare(change)
    assert found(difference) == ("input", "aten::bernoulli_.float", (GENERATOR,))
    assert difference is not None
    assert difference.first is not None
    assert difference.first.module == "layers.3"


def test_another_learning_rate_is_shown_as_the_argument_it_is(compare: Compare):
    def change(bench: Bench) -> None:
        bench.optimizer.param_groups[0]["lr"] = 0.02

    difference = compare(change)
    assert found(difference) == ("input", "aten::_fused_adamw_.default", ("lr=0.01 against lr=0.02",))
    assert difference is not None
    words = (
        r"aten::_fused_adamw_ in the optimizer phase \(test_tracing.py:\d+: self.optimizer.step\(\)\): other inputs: lr"
    )
    assert re.match(words, difference.describe())


def test_another_module_is_another_sequence(compare: Compare):
    def change(bench: Bench) -> None:
        bench.model.layers[2] = nn.GELU()

    difference = compare(change)
    assert found(difference)[:2] == ("sequence", "aten::relu.default")
    assert difference is not None
    assert "aten::gelu in layers.2 (test_tracing.py:" in difference.describe()


def test_an_optimizer_in_another_form_is_another_sequence(compare: Compare):
    kind, _, _ = found(compare(optimizer=partial(torch.optim.AdamW, foreach=True)))
    assert kind == "sequence"


class Trembling(torch.autograd.Function):
    """Adds what no seed governs, in one of the two directions."""

    @staticmethod
    def forward(context: Any, x: Tensor, direction: str) -> Tensor:
        context.direction = direction
        return x.add(tremble(x)) if direction == "forward" else x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.add(tremble(gradient)) if context.direction == "backward" else gradient.clone(), None


@torch.library.custom_op("deepdiva_test::tremble", mutates_args=())
def tremble(x: Tensor) -> Tensor:
    return torch.full_like(x, int.from_bytes(os.urandom(4)) / 2**32)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_operation_that_is_not_deterministic_is_named_with_its_line(tmp_path: Path, direction: str):
    def hook(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return Trembling.apply(output, direction)  # type: ignore[no-any-return]

    class Shaky(Small):
        def __init__(self) -> None:
            super().__init__()
            self.layers[2].register_forward_hook(hook)

    differences = [again(Shaky, tmp_path) for _ in range(2)]
    lines = {difference.describe() for difference in differences}
    assert len(lines) == 1, "found in the same place whatever was drawn"
    assert differences[0].kind == "operation"
    assert differences[0].first is not None
    assert differences[0].first.name == "deepdiva_test::tremble.default"
    assert differences[0].first.phase == direction
    function = "x.add(tremble(x))" if direction == "forward" else "gradient.add(tremble(gradient))"
    assert function in differences[0].describe()
    assert differences[0].describe().endswith("equal inputs, other result")


def test_a_number_that_no_seed_governs_is_shown_with_its_line(tmp_path: Path):
    class Shaky(Small):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * (1 + os.urandom(1)[0] / 2**20 + os.urandom(1)[0] / 2**30))

    difference = again(Shaky, tmp_path)
    assert found(difference)[:2] == ("input", "aten::mul.Tensor")
    assert "return super().forward(x * (1 + os.urandom(1)[0]" in difference.describe()
    assert re.search(r"other inputs: other=1\.\d+ against other=1\.\d+$", difference.describe())


def test_memory_that_is_read_before_it_was_written_is_named(tmp_path: Path):
    left_behind = iter([1.0, 2.0])

    class Careless(Small):
        def forward(self, x: Tensor) -> Tensor:
            sums = torch.empty(6)
            sums.numpy()[:] = next(left_behind)  # as a run finds it: no operation wrote it
            return super().forward(x) + sums[:, None]

    difference = again(Careless, tmp_path)
    assert difference.kind == "input"
    assert difference.first is not None
    assert difference.first.name == "aten::add.Tensor"
    assert re.match(r"uninitialised memory of operation \d+$", difference.reasons[0])


def test_a_change_behind_the_back_of_all_operations_is_told(tmp_path: Path):
    left_behind = iter([1.0, 2.0])

    class Behind(Small):
        def forward(self, x: Tensor) -> Tensor:
            scores = super().forward(x)
            scores.detach().numpy()[0, 0] = next(left_behind)
            return scores

    difference = again(Behind, tmp_path)
    assert difference.kind == "input"
    assert "changed since by something that is no operation" in difference.describe()


def again(network: Callable[[], nn.Module], folder: Path) -> OperationDifference:
    """The first difference between two traced steps of the same bench."""
    recordings = []
    for _ in range(2):
        bench = Bench(network)
        with tracing(folder / "again.jsonl", bench.model, ROOT):
            bench.step(0)
        recordings.append(read_operations(folder / "again.jsonl"))
    difference = first_difference(*recordings)
    assert difference is not None
    return difference


# -- in a run, and from one process to another -----------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_step_of_a_trainer_is_recorded_from_its_data_to_its_optimizer(
    make_trainer: Callable[..., Trainer], clouds: type, make_run: Any, tmp_path: Path, accumulate: int
):
    settings = {"task": clouds(trembling=True), "training": {"accumulate": accumulate}, "run": make_run()}
    plain = make_trainer(**settings)
    plain.fit(until=3)
    traced = make_trainer(**settings)
    traced.fit(until=3, watch=lambda: tracing(tmp_path / "trace.jsonl", traced.model, ROOT))
    assert traced.digests() == plain.digests()
    operations = read_operations(tmp_path / "trace.jsonl")
    phases = ["load", "forward", "backward", "optimizer"]
    changes = [
        here.phase
        for here, before in zip(operations, [None, *operations], strict=False)
        if before is None or here.phase != before.phase
    ]
    assert [phase for phase in changes if phase != "optimizer"] == phases[:3] * accumulate
    assert changes[-1] == "optimizer"
    loaded = [operation for operation in operations if operation.phase == "load"]
    assert any("conftest.py" in operation.source and "torch.randn(4)" in operation.source for operation in loaded)
    lines = {operation.source.partition(": ")[2] for operation in operations if operation.phase != "load"}
    assert "scores = model(inputs)" in lines
    assert "loss = nn.functional.cross_entropy(scores, targets)" in lines
    assert "deepdiva/engine/" in operations[-1].source, "no line of the project: that of the loop"


def test_a_task_of_the_package_is_shown_with_its_own_lines(tmp_path: Path):
    task = ImageClassification()
    subject = Subject(
        task=task,
        data=task.load_data("digits"),
        create_model=lambda: CNN(num_classes=10, width=4),
        create_optimizer=FUSED,
        batch_size=16,
        device=torch.device("cpu"),
    )
    subject.first_batch()  # what a task computes once and keeps
    for name in "ab":
        model = subject.model().train()
        subject.step(model, subject.first_batch()[0])
        model.load_state_dict(subject.model().state_dict())
        with tracing(tmp_path / f"{name}.jsonl", model, tmp_path):
            batch, _ = subject.first_batch()
            subject.step(model, batch).loss.backward()
    one, other = (read_operations(tmp_path / f"{name}.jsonl") for name in "ab")
    assert first_difference(one, other) is None
    convolution = next(operation for operation in one if operation.name == "aten::convolution.default")
    assert convolution.module
    assert re.match(r"deepdiva/models/cnn\.py:\d+: ", convolution.source)
    loss = next(operation for operation in one if operation.name.startswith("aten::nll_loss_forward"))
    assert re.match(r"deepdiva/tasks/.*\.py:\d+: ", loss.source)


CHILD = """
import sys
from pathlib import Path
import torch
from torch import nn
from deepdiva.engine.tracing import tracing
from deepdiva.models.cnn import CNN

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
model = CNN(num_classes=10, in_channels=1, width=8).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
inputs, targets = torch.randn(64, 1, 16, 16), torch.randint(0, 10, (64,))
with tracing(Path(sys.argv[2]), model, Path.cwd()):
    nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_traced_step_on_a_gpu_computes_the_same_bits_and_knows_its_derivatives(tmp_path: Path):
    digests = []
    for trace in (nullcontext(), None):
        bench = Bench(lambda: Small().cuda())
        bench.batches = [(inputs.cuda(), targets.cuda()) for inputs, targets in bench.batches]
        with trace or tracing(tmp_path / "trace.jsonl", bench.model, ROOT):
            bench.step(0)
        digests.append(state_digest(bench.model.state_dict()))
    assert digests[0] == digests[1]
    operations = read_operations(tmp_path / "trace.jsonl")
    derivative = next(each for each in operations if each.name == "aten::convolution_backward.default")
    assert (derivative.phase, derivative.module) == ("backward", "layers.0")
    assert derivative.inputs[0].startswith("cuda ")


@pytest.mark.slow
def test_another_number_of_threads_is_found_at_the_operation_that_is_split_over_them(tmp_path: Path):
    (tmp_path / "child.py").write_text(CHILD)
    for name, threads in {"one": 1, "two": 2}.items():
        words = [sys.executable, "child.py", str(threads), f"{name}.jsonl"]
        subprocess.run(words, check=True, cwd=tmp_path)
    one, two = (read_recording(tmp_path / f"{name}.jsonl") for name in ("one", "two"))
    difference = first_difference(one.operations, two.operations)
    assert difference is not None
    assert difference.kind == "operation"
    assert difference.first is not None
    assert difference.first.phase == "backward"
    assert difference.first.name.split("::")[1] in ("mm.default", "convolution_backward.default")
    assert (one.setting["threads"], two.setting["threads"]) == (1, 2)


def test_torch_sees_the_same_operations_in_a_mode_of_its_own(tmp_path: Path):
    """Torch's prototype hashes what operations return; where it does, it must be what we recorded."""
    debug = pytest.importorskip("torch.utils._debug_mode")
    mine, other = Bench(), Bench()
    for bench in (mine, other):
        bench.step(0)
    with tracing(tmp_path / "trace.jsonl", mine.model, ROOT):
        mine.step(1)
    with debug.DebugMode() as mode, debug.DebugMode.log_tensor_hashes(hash_fn=text_of, hash_inputs=True):
        other.step(1)
    theirs = [call for call in mode.logs if hasattr(call, "op") and call.op.namespace != "profiler"]
    # It passes over some of the times that a tensor is detached, which computes nothing.
    theirs = [call for call in theirs if call.op._schema.name != "aten::detach"]
    ours = [each for each in read_operations(tmp_path / "trace.jsonl") if each.name != "aten::detach.default"]
    assert [each.name for each in ours] == [str(each.op).replace(".", "::", 1) for each in theirs]
    hashes = [[text for text in tree_leaves((call.log or {}).get("hash")) if text] for call in theirs]
    pairs = [pair for mine, texts in zip(ours, hashes, strict=True) for pair in zip(mine.outputs, texts, strict=False)]
    assert len(pairs) > 40
    assert all(their_text.startswith(our_text) for our_text, their_text in pairs), "ours without a hash for a view"
    unseen = {mine.name for mine, texts in zip(ours, hashes, strict=True) if mine.outputs and not texts}
    assert "aten::_fused_adamw_.default" in unseen, "the reason why it is not enough"


@pytest.mark.filterwarnings("ignore:Using `torch.compile")  # with the hooks that follow the modules
def test_a_compiled_model_has_the_names_that_were_written(tmp_path: Path):
    recordings = []
    for name, network in (("plain", Small), ("compiled", lambda: torch.compile(Small(), backend="eager"))):
        Bench(network).train(tmp_path / name)
        recordings.append(read_recording(tmp_path / name))
    plain, compiled = recordings
    assert compiled.tensors == plain.tensors
    assert {each.module for each in compiled.operations} == {each.module for each in plain.operations}
