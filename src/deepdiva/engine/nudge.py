"""A perturbation by one unit in the last place: how far rounding alone can carry a training is measured with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepdiva.engine.seeding import words

if TYPE_CHECKING:
    from torch import Tensor, nn


def nudge(model: nn.Module, stream: int) -> None:
    """Moves every floating-point parameter element to the float above it, to the one below it, or leaves it.

    Each of the three is as likely, and which it is depends on the stream and on the element's place among all the
    elements, so that a perturbation can be had again, on any device. Zeros stay: the floats next to them are
    subnormal numbers, which move nothing and are slow to compute with. So do infinities, NaN, the largest float, and
    whatever is no parameter (the statistics of a batch normalisation, integers).

    Args:
        model: Changed in place. A parameter that is shared between layers moves once.
        stream: The key of a stream, as `engine.seeding.key(seed, "nudge", number)` gives it.
    """
    import torch

    start = 0
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.view_as_real(parameter) if parameter.is_complex() else parameter
            if values.is_floating_point():
                moves = (words(stream, values.numel(), start=start) % np.uint64(3)).astype(np.int8) - np.int8(1)
                start += values.numel()
                _move(values, torch.from_numpy(moves).reshape(values.shape).to(values.device))


def _move(values: Tensor, moves: Tensor) -> None:
    """Moves values by that many floats away from zero, in place.

    Floats of one sign, read as whole numbers, are in the order of their magnitudes (IEEE 754): the next float is the
    next number, for every width of float.
    """
    import torch

    integer = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    moved = (values.contiguous().view(integer) + moves.to(integer)).view(values.dtype)
    can_move = (values != 0) & torch.isfinite(values) & torch.isfinite(moved)
    values.copy_(torch.where(can_move, moved, values))
