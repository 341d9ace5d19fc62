"""CRC-32C, the checksum of TensorBoard's files, for many rows of bytes at once.

The checksum is linear: every byte contributes on its own, by its value and its distance from the end, and the
contributions are combined by XOR. So one look-up in a table of contributions does a whole block of bytes, where
the pure-Python loop that comes with TensorBoard takes them one after the other.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 1024
_POLYNOMIAL = 0x82F63B78
_MASK = 0xFFFFFFFF


def masked_crc32c(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The checksum of each row of a (rows, bytes) table in the masked form that event files hold."""
    import numpy as np

    crc = crc32c(rows)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


def crc32c(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The checksum of each row of a (rows, bytes) table."""
    import numpy as np

    crc = np.full(len(rows), _MASK, dtype=np.uint32)
    for start in range(0, rows.shape[1], _BLOCK):
        block = rows[:, start : start + _BLOCK]
        crc = _shifted(crc, block.shape[1]) ^ _contribution(block)
    return crc ^ np.uint32(_MASK)


def _contribution(block: NDArray[np.uint8]) -> NDArray[np.uint32]:
    import numpy as np

    places = _places()[_BLOCK - block.shape[1] :]
    combined: NDArray[np.uint32] = np.bitwise_xor.reduce(_table().take(places + block), axis=1)
    return combined


def _shifted(crc: NDArray[np.uint32], count: int) -> NDArray[np.uint32]:
    """What the checksums so far become when `count` zero bytes follow: their own bytes act like the first four."""
    import numpy as np

    size = min(4, count)
    leading = crc.astype("<u4").view(np.uint8).reshape(-1, 4)
    shifted = crc >> np.uint32(8 * size) if size < 4 else np.zeros_like(crc)
    places = _places()[_BLOCK - count : _BLOCK - count + size]
    combined: NDArray[np.uint32] = np.bitwise_xor.reduce(_table().take(places + leading[:, :size]), axis=1)
    return shifted ^ combined


@cache
def _places() -> NDArray[np.intp]:
    """Where in the table each place of a full block has its row."""
    import numpy as np

    return np.arange(_BLOCK)[::-1] * 256


@cache
def _table() -> NDArray[np.uint32]:
    """The contribution of every byte value at every distance from the end, distance after distance."""
    import numpy as np

    table = np.empty((_BLOCK, 256), dtype=np.uint32)
    table[0] = np.arange(256)
    for _ in range(8):
        table[0] = (table[0] >> 1) ^ np.where(table[0] & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    for distance in range(1, _BLOCK):
        before = table[distance - 1]
        table[distance] = table[0][before & 0xFF] ^ (before >> 8)
    return table.ravel()
