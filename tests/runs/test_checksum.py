"""CRC-32C: the same as TensorBoard's own, for any length and any number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.runs.checksum import crc32c, masked_crc32c


def row(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)[None]


def test_the_published_check_value():
    assert int(crc32c(row(b"123456789"))[0]) == 0xE3069283
    assert int(crc32c(row(bytes(32)))[0]) == 0x8A9136AA


@given(st.binary(max_size=3000))
def test_any_bytes_give_the_checksum_that_tensorboard_computes(data):
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as expected

    assert int(masked_crc32c(row(data))[0]) == expected(data)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 1023, 1024, 1025, 1026, 1027, 1028, 2048, 5000])
def test_every_row_has_its_own_checksum(length):
    table = np.random.default_rng(length).integers(0, 256, (5, length), dtype=np.uint8)
    assert crc32c(table).tolist() == [int(crc32c(single[None])[0]) for single in table]
    assert len(set(crc32c(table).tolist())) > 1
