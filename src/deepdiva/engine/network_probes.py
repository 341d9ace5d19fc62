"""Computations with layers, losses, pictures and optimizers, forward and backward, for the numeric fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from deepdiva.engine.probe_inputs import Numbers, Probe, short_name, with_gradients

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def convolutions(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    """Convolutions of every kind."""
    import torch

    cases = {
        "conv1d": (numbers(4, 6, 50), numbers(8, 6, 5), {"padding": 2}),
        "conv2d": (numbers(8, 3, 16, 16), numbers(16, 3, 3, 3), {"padding": 1}),
        "conv2d/strided": (numbers(4, 16, 15, 15), numbers(24, 16, 3, 3), {"stride": 2}),
        "conv2d/1x1": (numbers(4, 32, 8, 8), numbers(48, 32, 1, 1), {}),
        "conv2d/grouped": (numbers(4, 16, 8, 8), numbers(16, 1, 3, 3), {"padding": 1, "groups": 16}),
        "conv2d/dilated": (numbers(2, 8, 16, 16), numbers(8, 8, 3, 3), {"dilation": 2}),
        "conv3d": (numbers(2, 3, 6, 8, 8), numbers(5, 3, 3, 3, 3), {"padding": 1}),
        "conv_transpose2d": (numbers(2, 8, 7, 7), numbers(8, 6, 3, 3), {"stride": 2}),
    }
    for name, (inputs, weight, words) in cases.items():
        function = getattr(torch.nn.functional, name.partition("/")[0])
        yield (
            f"{name}/backward",
            lambda function=function, inputs=inputs, weight=weight, words=words: with_gradients(
                lambda i, w: function(i, w, **words), inputs, weight
            ),
        )
    inputs, weight, _ = cases["conv2d"]
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        yield (
            f"conv2d/{short_name(kind)}",
            lambda kind=kind: torch.nn.functional.conv2d(inputs.to(kind), weight.to(kind), padding=1),
        )
    yield (
        "conv2d/channels last",
        lambda: torch.nn.functional.conv2d(inputs.contiguous(memory_format=torch.channels_last), weight),
    )


def networks(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    """Normalisation, embedding, attention and recurrent layers."""
    import torch
    from torch import nn

    functional = nn.functional
    images, rows = numbers(8, 12, 9, 9), numbers(33, 64)
    scale, shift = numbers(12), numbers(12)
    yield (
        "batch_norm/training backward",
        lambda: with_gradients(
            lambda i, s, b: functional.batch_norm(i, None, None, s, b, training=True), images, scale, shift
        ),
    )
    yield (
        "batch_norm/evaluation",
        lambda: functional.batch_norm(images, shift, scale.abs() + 0.1, scale, shift, training=False),
    )
    yield "group_norm/backward", lambda: with_gradients(lambda i, s: functional.group_norm(i, 3, s), images, scale)
    yield "instance_norm", lambda: functional.instance_norm(images)
    yield "layer_norm/backward", lambda: with_gradients(lambda i: functional.layer_norm(i, (64,)), rows)
    yield "rms_norm/backward", lambda: with_gradients(lambda i: functional.rms_norm(i, (64,)), rows)
    yield "normalize", lambda: functional.normalize(rows)
    table, places = numbers(50, 16), numbers.integers(20, 7, below=50)
    yield "embedding/backward", lambda: with_gradients(lambda t: functional.embedding(places, t), table)
    yield "embedding_bag/backward", lambda: with_gradients(lambda t: functional.embedding_bag(places, t), table)
    query, key, value = (numbers(2, 4, size, 16) for size in (10, 11, 12))
    key, value = key[:, :, :10], value[:, :, :10]
    for causal in (False, True):
        yield (
            f"attention/{'causal ' if causal else ''}backward",
            lambda causal=causal: with_gradients(
                lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=causal), query, key, value
            ),
        )
    for name in ("LSTM", "GRU", "RNN"):
        yield f"{name}/backward", lambda name=name: _recurrent(numbers, getattr(nn, name), bidirectional=False)
    yield "LSTM/bidirectional backward", lambda: _recurrent(numbers, nn.LSTM, bidirectional=True)
    yield "clip_grad_norm", lambda: torch.nn.utils.get_total_norm([images, rows, table])


def images(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    """Pooling, padding and resampling."""
    from torch.nn import functional

    images = numbers(3, 4, 13, 14)
    pooling: dict[str, Callable[[Tensor], Tensor]] = {
        "max_pool2d": lambda i: functional.max_pool2d(i, 3, 2),
        "avg_pool2d": lambda i: functional.avg_pool2d(i, 3, 2),
        "adaptive_avg_pool2d": lambda i: functional.adaptive_avg_pool2d(i, (4, 5)),
        "adaptive_max_pool2d": lambda i: functional.adaptive_max_pool2d(i, (4, 5)),
        "lp_pool2d": lambda i: functional.lp_pool2d(i, 2.0, 3),
        "pad/reflect": lambda i: functional.pad(i, (2, 2, 1, 1), mode="reflect"),
        "pad/replicate": lambda i: functional.pad(i, (2, 2, 1, 1), mode="replicate"),
        "pixel_shuffle": lambda i: functional.pixel_shuffle(i, 2),
        "unfold": lambda i: functional.unfold(i, 3),
    }
    for name, function in pooling.items():
        yield f"{name}/backward", lambda function=function: with_gradients(function, images)
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        corners = False if mode in ("bilinear", "bicubic") else None
        yield (
            f"interpolate/{mode} backward",
            lambda mode=mode, corners=corners: with_gradients(
                lambda i: functional.interpolate(i, size=(20, 9), mode=mode, align_corners=corners), images
            ),
        )
    grid = numbers(3, 6, 7, 2)
    for mode in ("bilinear", "nearest", "bicubic"):
        yield (
            f"grid_sample/{mode} backward",
            lambda mode=mode: with_gradients(
                lambda i, g: functional.grid_sample(i, g, mode=mode, align_corners=False), images, grid
            ),
        )
    yield "affine_grid", lambda: functional.affine_grid(numbers(3, 2, 3), [3, 4, 8, 9], align_corners=False)
    yield "antialiased resize", lambda: functional.interpolate(images, size=(6, 7), mode="bilinear", antialias=True)


def losses(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    """Losses with their gradients."""
    from torch.nn import functional

    scores, classes = numbers(65, 11), numbers.integers(65, below=11)
    targets = numbers(65, 11, low=0.0, high=1.0)
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "cross_entropy": lambda s: functional.cross_entropy(s, classes),
        "cross_entropy/smoothed": lambda s: functional.cross_entropy(s, classes, label_smoothing=0.1),
        "cross_entropy/weighted": lambda s: functional.cross_entropy(s, classes, weight=targets[0]),
        "nll_loss/images": lambda s: functional.nll_loss(s[:, :, None, None].expand(-1, -1, 2, 2), classes4),
        "mse_loss": lambda s: functional.mse_loss(s, targets),
        "l1_loss": lambda s: functional.l1_loss(s, targets),
        "smooth_l1_loss": lambda s: functional.smooth_l1_loss(s, targets),
        "huber_loss": lambda s: functional.huber_loss(s, targets),
        "kl_div": lambda s: functional.kl_div(s, targets, reduction="batchmean"),
        "binary_cross_entropy_with_logits": lambda s: functional.binary_cross_entropy_with_logits(s, targets),
        "cosine_embedding_loss": lambda s: functional.cosine_embedding_loss(s, targets, signs),
        "triplet_margin_loss": lambda s: functional.triplet_margin_loss(s, targets, s.flip(0)),
        "multi_margin_loss": lambda s: functional.multi_margin_loss(s, classes),
        "gaussian_nll_loss": lambda s: functional.gaussian_nll_loss(s, targets, targets + 0.1),
    }
    classes4 = classes[:, None, None].expand(-1, 2, 2)
    signs = (classes % 2) * 2 - 1
    for name, function in losses.items():
        yield f"{name}/backward", lambda function=function: with_gradients(function, scores)
    steps = numbers(20, 4, 11).log_softmax(2)
    labels, lengths = numbers.integers(4, 6, below=10) + 1, numbers.integers(4, below=1)
    yield (
        "ctc_loss/backward",
        lambda: with_gradients(lambda s: functional.ctc_loss(s, labels, lengths + 20, lengths + 6), steps),
    )


def optimizers(numbers: Numbers) -> Iterator[tuple[str, Probe]]:
    """Two steps of each optimizer, in its several forms."""
    import torch

    cases: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
        "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, foreach=False),
        "SGD/foreach": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, foreach=True),
        "SGD/fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True),
        "Adam": lambda p: torch.optim.Adam(p, lr=0.1, foreach=False),
        "AdamW/foreach": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True),
        "AdamW/fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
        "Adagrad/fused": lambda p: torch.optim.Adagrad(p, lr=0.1, fused=True),
        "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, foreach=False),
    }
    for name, build in cases.items():
        yield f"{name}/two steps", lambda build=build: _two_steps(numbers, build)


def _recurrent(numbers: Numbers, kind: Any, *, bidirectional: bool) -> tuple[Any, ...]:
    network = kind(12, 16, bidirectional=bidirectional, device="meta").to_empty(device=numbers.device)
    numbers.fill(network)
    return with_gradients(lambda i: network(i)[0], numbers(9, 5, 12))


def _two_steps(numbers: Numbers, build: Callable[[list[Tensor]], torch.optim.Optimizer]) -> list[Tensor]:
    leaves = [numbers(50, 61).requires_grad_(), numbers(61).requires_grad_()]
    optimizer = build(leaves)
    for step in range(2):
        for leaf in leaves:
            leaf.grad = leaf.detach() * (0.3 + step)
        optimizer.step()
    return [leaf.detach() for leaf in leaves]
