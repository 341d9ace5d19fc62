"""Small computations that together cover what trainings are made of, for the numeric fingerprint of a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from deepdiva.engine import network_probes
from deepdiva.engine.probe_inputs import Numbers, Probe, short_name, with_gradients

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MANY = 40_000  # beyond 32,768 numbers torch splits the work over its threads
_UNARY = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "digamma", "erf", "erfc", "erfinv",
    "exp", "exp2", "expm1", "frac", "i0", "lgamma", "log", "log10", "log1p", "log2", "logit", "neg", "reciprocal",
    "round", "rsqrt", "sigmoid", "sign", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
)  # fmt: skip
_LARGE = {"acosh"}  # defined from 1 on
_HALF = ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "erf", "reciprocal")
_DOUBLE = ("exp", "log", "sqrt", "tanh", "sin", "cos", "erf", "lgamma")
_BINARY = (
    "add", "atan2", "copysign", "div", "fmod", "hypot", "logaddexp", "mul", "nextafter", "pow", "remainder", "sub",
    "xlogy",
)  # fmt: skip
_ACTIVATIONS = (
    "celu", "elu", "gelu", "glu", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu", "selu", "silu",
    "softplus",
)  # fmt: skip
_REDUCTIONS = ("sum", "mean", "std", "var", "prod", "logsumexp", "norm", "amax", "argmax", "median", "nansum")
_LENGTHS = (7, 1000, 100_000)


def probes(device: torch.device) -> Iterator[tuple[str, Probe]]:
    """Every computation by its name, in a fixed order."""
    numbers = Numbers(device)
    yield from _pointwise(numbers)
    yield from _reductions(numbers)
    yield from _products(numbers)
    yield from network_probes.convolutions(numbers)
    yield from network_probes.networks(numbers)
    yield from network_probes.images(numbers)
    yield from network_probes.losses(numbers)
    yield from network_probes.optimizers(numbers)
    yield from _order(numbers)
    yield from _random(numbers)


def _pointwise(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    import torch

    low, large = numbers(_MANY, low=0.001, high=0.999), numbers(_MANY, low=1.0, high=50.0)
    for name in _UNARY:
        yield f"{name}/float32", lambda name=name: getattr(torch, name)(large if name in _LARGE else low)
    for name in ("exp", "sin", "cos", "tan", "log", "sqrt", "tanh", "lgamma", "atan"):
        yield f"{name}/float32 wide", lambda name=name: getattr(torch, name)(large)
        yield f"{name}/float32 strided", lambda name=name: getattr(torch, name)(large[::3])
        yield f"{name}/float32 short", lambda name=name: getattr(torch, name)(large[:13])
    for name in _DOUBLE:
        yield f"{name}/float64", lambda name=name: getattr(torch, name)(low.double())
    for kind in (torch.float16, torch.bfloat16):
        for name in _HALF:
            yield f"{name}/{short_name(kind)}", lambda name=name, kind=kind: getattr(torch, name)(low.to(kind))
    one, two = numbers(200, 201, low=0.1, high=3.0), numbers(201, low=0.1, high=3.0)
    for name in _BINARY:
        yield f"{name}/float32", lambda name=name: getattr(torch, name)(one, two)
    for name in _ACTIVATIONS:
        yield f"{name}/backward", lambda name=name: with_gradients(getattr(torch.nn.functional, name), one.t() - 1.5)
    yield "addcmul", lambda: torch.addcmul(one, one, two, value=0.3)
    yield "addcdiv", lambda: torch.addcdiv(one, one, two, value=0.3)
    yield "lerp", lambda: torch.lerp(one, two.expand_as(one), 0.3)
    yield "where", lambda: torch.where(one > 1, one, two)
    yield "polynomial", lambda: ((one * 1.7 + 0.1) * one - 0.3) / (one + 0.7)
    yield "complex exp", lambda: torch.exp(torch.complex(one, one))


def _reductions(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    import torch

    for name in _REDUCTIONS:
        for length in _LENGTHS:
            values = numbers(length, low=0.9, high=1.1)
            words = (0,) if name == "logsumexp" else ()
            yield f"{name}/{length}", lambda name=name, values=values, words=words: getattr(torch, name)(values, *words)
    table = numbers(300, 401)
    for dim in (0, 1):
        for name in ("sum", "mean", "var", "logsumexp", "cumsum", "cumprod", "amin"):
            yield f"{name}/dim {dim}", lambda name=name, dim=dim: getattr(torch, name)(table, dim)
        for name in ("softmax", "log_softmax"):
            function = getattr(torch, name)
            yield (
                f"{name}/dim {dim} backward",
                lambda function=function, dim=dim: with_gradients(lambda t: function(t, dim), table),
            )
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        for name in ("sum", "mean", "var"):
            yield f"{name}/{short_name(kind)}", lambda name=name, kind=kind: getattr(torch, name)(table.to(kind), 1)
        yield f"softmax/{short_name(kind)}", lambda kind=kind: torch.softmax(table.to(kind), 1)
    yield "sum/transposed", lambda: table.t().sum(1)
    yield "sum/all of a table", lambda: table[:, ::2].sum()
    yield "cdist", lambda: torch.cdist(table[:40], table[40:80])
    yield "histc", lambda: torch.histc(table, bins=20, min=-1, max=1)


def _products(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    import torch

    for rows, inner, columns in ((1, 64, 10), (7, 13, 5), (64, 128, 128), (65, 784, 33), (256, 256, 256)):
        one, two = numbers(rows, inner), numbers(inner, columns)
        size = f"{rows}x{inner}x{columns}"
        yield f"mm/{size}", lambda one=one, two=two: one @ two
        yield f"mm/{size} transposed", lambda one=one, two=two: two.t() @ one.t()
    one, two, bias = numbers(48, 96), numbers(96, 80), numbers(80)
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        yield f"mm/{short_name(kind)}", lambda kind=kind: one.to(kind) @ two.to(kind)
    yield "addmm", lambda: torch.addmm(bias, one, two, beta=0.5, alpha=1.5)
    yield "bmm", lambda: torch.bmm(numbers(9, 17, 33), numbers(9, 33, 12))
    yield "baddbmm", lambda: torch.baddbmm(numbers(9, 17, 12), numbers(9, 17, 33), numbers(9, 33, 12))
    for length in (31, 1000):
        yield f"mv/{length}", lambda n=length: numbers(n, 300) @ numbers(300)
        yield f"dot/{length}", lambda n=length: numbers(n) @ numbers(n)
    yield "mv/unaligned", lambda: numbers(100, 301)[:, 1:] @ numbers(301)[1:]
    yield "outer", lambda: torch.outer(bias, bias)
    yield "einsum", lambda: torch.einsum("bij,bkj->bik", numbers(4, 20, 30), numbers(4, 25, 30))
    for inputs, outputs in ((64, 128), (784, 10)):
        tensors = numbers(65, inputs), numbers(outputs, inputs), numbers(outputs)
        yield f"linear/{inputs} to {outputs} backward", lambda tensors=tensors: _gradients_of_linear(tensors)
    square = numbers(24, 24) + 3 * torch.eye(24, device=numbers.device)
    for name in ("cholesky", "inv", "det", "svdvals", "eigvalsh"):
        values = square if name in ("inv", "det") else square @ square.t()
        yield f"linalg.{name}", lambda name=name, values=values: getattr(torch.linalg, name)(values)
    yield "fft", lambda: torch.fft.rfft(numbers(5, 240))


def _order(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    import torch

    values, places = numbers(3000), numbers.integers(3000, below=200)
    table = numbers(200, 5)
    yield "sort", lambda: torch.sort(values)
    yield "sort/stable of ties", lambda: torch.sort(places, stable=True)
    yield "topk", lambda: torch.topk(values, 20)
    yield "unique", lambda: torch.unique(places, return_inverse=True, return_counts=True)
    yield "bincount", lambda: torch.bincount(places)
    yield "bincount/weighted", lambda: torch.bincount(places, values)
    yield "searchsorted", lambda: torch.searchsorted(values.sort()[0], values)
    yield "cumsum/long", lambda: values.cumsum(0)
    yield "cummax", lambda: values.cummax(0)
    yield "index_select/backward", lambda: with_gradients(lambda t: t.index_select(0, places), table)
    yield "index/backward", lambda: with_gradients(lambda t: t[places], table)
    yield "gather/backward", lambda: with_gradients(lambda t: t.gather(0, places[:200, None]), table)
    yield "index_add", lambda: torch.zeros(200, device=numbers.device).index_add(0, places, values)
    yield "scatter_add", lambda: torch.zeros(200, device=numbers.device).scatter_add(0, places, values)
    yield (
        "scatter_reduce/mean",
        lambda: torch.zeros(200, device=numbers.device).scatter_reduce(0, places, values, "mean"),
    )
    yield (
        "index_put/accumulate",
        lambda: torch.zeros(200, device=numbers.device).index_put((places,), values, accumulate=True),
    )
    yield "masked_select", lambda: values[values > 0]


def _random(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    import torch

    device = numbers.device

    def drawn(function: Callable[..., Tensor]) -> Probe:
        return lambda: function(torch.Generator(device).manual_seed(2018))

    for count in (10, _MANY):
        yield f"rand/{count}", drawn(lambda g, n=count: torch.rand(n, generator=g, device=device))
        yield f"randn/{count}", drawn(lambda g, n=count: torch.randn(n, generator=g, device=device))
    yield "randint", drawn(lambda g: torch.randint(1000, (500,), generator=g, device=device))
    yield "randperm", drawn(lambda g: torch.randperm(5000, generator=g, device=device))
    yield "exponential", drawn(lambda g: torch.empty(500, device=device).exponential_(generator=g))
    yield "bernoulli", drawn(lambda g: torch.empty(5000, device=device).bernoulli_(0.3, generator=g))
    yield "multinomial", drawn(lambda g: torch.multinomial(numbers(200, low=0, high=1), 50, generator=g))
    for name in ("kaiming_uniform_", "xavier_normal_", "trunc_normal_"):
        fill = getattr(torch.nn.init, name)
        yield name.strip("_"), drawn(lambda g, fill=fill: fill(torch.empty(40, 50, device=device), generator=g))


def _gradients_of_linear(tensors: tuple[Tensor, Tensor, Tensor]) -> tuple[Any, ...]:
    import torch

    return with_gradients(torch.nn.functional.linear, *tensors)
