import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from cases import every
from hdlif.errors import ArtefactError
from hdlif.graph.artefact.packing import pack, packed_bytes, unpack

shapes = stn.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=7)


HELD: dict[str, tuple[list[int], int]] = {
    "ternary": ([-1, 0, 1], 5),
    "binary": ([-1, 1], 8),
    "int2": ([-1, 0, 1], 4),
    "int4": (list(range(-7, 8)), 2),
    "int8": (list(range(-127, 128)), 1),
}
"""Of each encoding its values, and how many of them a byte holds."""


@given(encoding=st.sampled_from(sorted(HELD)), data=st.data())
def test_what_is_packed_comes_back(encoding: str, data: st.DataObject) -> None:
    values, per_byte = HELD[encoding]
    weights = data.draw(stn.arrays(np.int8, shapes, elements=st.sampled_from(values)))
    packed = pack(weights, encoding)
    assert packed.dtype == np.uint8
    assert packed.size == packed_bytes(weights.size, encoding) == -(-weights.size // per_byte)
    np.testing.assert_array_equal(unpack(packed, weights.shape, encoding), weights, strict=True)


def test_worked_examples() -> None:
    np.testing.assert_array_equal(pack(np.array([-3, 5, -7], np.int8), "int4"), [0x5D, 0x09])
    np.testing.assert_array_equal(pack(np.array([-1, 0, 1, 1, -1], np.int8), "int2"), [0b01010011, 0b11])
    np.testing.assert_array_equal(pack(np.array([-127, 5], np.int8), "int8"), [0x81, 5])
    np.testing.assert_array_equal(pack(np.array([-1, 0, 1, 1, 0, 1], np.int8), "ternary"), [156, 2])
    np.testing.assert_array_equal(pack(np.array([1, -1, 1, 1, -1, -1, -1, -1, 1], np.int8), "binary"), [13, 1])


def test_every_byte_up_to_242_is_five_weights_and_no_other() -> None:
    packed = np.arange(243, dtype=np.uint8)
    weights = unpack(packed, (243, 5), "ternary")
    assert len(np.unique(weights, axis=0)) == 243
    np.testing.assert_array_equal(pack(weights, "ternary"), packed)
    for byte in range(243, 256):
        packed[100] = byte
        with pytest.raises(ArtefactError, match=rf"layer\.weight: byte {byte} at offset 100 is above 242"):
            unpack(packed, (243, 5), "ternary", name="layer.weight")


@every("encoding", "last", of=[("ternary", 3), ("binary", 2), ("int2", 4), ("int4", 0x21)])
def test_fill_must_be_zero_and_sizes_must_fit(encoding: str, last: int) -> None:
    with pytest.raises(ArtefactError, match="fill"):
        unpack(np.array([last], np.uint8), (1,), encoding)
    for size in (0, 2):
        with pytest.raises(ArtefactError, match=f"{size} bytes"):
            unpack(np.zeros(size, np.uint8), (1,), encoding)
