"""What a model file's header and weights may hold, read through the C interface and by Python's `load`."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from c_interface import ARTEFACT, LIMIT, OF_THE_EXTENSION, CallError
from cases import every
from deployed_graphs import random_input
from hdlif.errors import HdlifError
from hdlif.graph.artefact import loads
from hdlif.runtime import Session
from model_files import GOLDEN, signed
from mutations import assert_in_one_line
from runtime.test_random_graphs import finite

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import fuzz_artefact


def accepts(content: bytes) -> bool:
    """Whether Python reads and would run the file; the C interface does so too, or refuses it by a text of one line."""
    limits = {"max_bytes": fuzz_artefact.MAX_BYTES, "max_operations": fuzz_artefact.MAX_OPERATIONS}
    try:
        graph = loads(content, "file")
        session = Session(graph, 1, **limits)
        expected = True
    except HdlifError as caught:
        expected = False
        assert_in_one_line(caught)
    opened, error = None, None
    try:
        opened = OF_THE_EXTENSION.network(content, **limits)
    except CallError as caught:
        error = caught
    assert (opened is not None) == expected, error or "the C interface takes what Python refuses"
    if opened is None:
        assert error is not None
        assert error.status in (ARTEFACT, LIMIT), error
        assert str(error).isprintable(), error
        assert 0 < len(str(error)) <= 1000
        return False
    x = random_input(graph, 2, 1)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(finite(opened.run(x, 2)), finite(session.run(x)))
    return True


def header_of(content: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(content[:8], "little")
    return content[8 : 8 + length], content[8 + length :]


def with_header(header: bytes, tensors: bytes) -> bytes:
    return signed(len(header).to_bytes(8, "little") + header + tensors)


TEXTS = {
    "as it is": (b'\\"format\\":5', b'\\"format\\":5', True),
    "spaces": (b'\\"format\\":5', b' \\"format\\" :\\n\\t5 ', True),
    "escapes": (b'\\"format\\":5', b'\\"\\\\u0066ormat\\":5', True),
    "escapes in the header": (b'"dtype":"F32"', b'"\\u0064type":"F\\u00332"', True),
    "a label of two surrogates": (b'\\"a\\"', b'\\"\\\\ud83d\\\\ude00\\"', True),
    "a real number": (b'\\"format\\":5', b'\\"format\\":5.0', False),
    "an exponent": (b'\\"time_steps\\":2', b'\\"time_steps\\":2e0', False),
    "a leading zero": (b'\\"time_steps\\":2', b'\\"time_steps\\":02', False),
    "a plus": (b'\\"time_steps\\":2', b'\\"time_steps\\":+2', False),
    "hexadecimal": (b'\\"time_steps\\":2', b'\\"time_steps\\":0x2', False),
    "no digit behind the point": (b'\\"mean\\":[0.5]', b'\\"mean\\":[0.]', False),
    "no digit before the point": (b'\\"mean\\":[0.5]', b'\\"mean\\":[.5]', False),
    "NaN": (b'\\"mean\\":[0.5]', b'\\"mean\\":[NaN]', False),
    "infinity": (b'\\"mean\\":[0.5]', b'\\"mean\\":[-Infinity]', False),
    "a number beyond doubles": (b'\\"mean\\":[0.5]', b'\\"mean\\":[1e999]', False),
    "a number beyond floats": (b'\\"mean\\":[0.5]', b'\\"mean\\":[3.5e38]', False),
    "a number below doubles": (b'\\"mean\\":[0.5]', b'\\"mean\\":[-1e-999]', True),
    "the largest float": (b'\\"mean\\":[0.5]', b'\\"mean\\":[3.4028234663852886e38]', True),
    "an integer for a number": (b'\\"mean\\":[0.5]', b'\\"mean\\":[-1]', True),
    "an integer beyond 64 bits": (b'\\"mean\\":[0.5]', b'\\"mean\\":[100000000000000000000]', True),
    "1000 digits": (b'\\"mean\\":[0.5]', b'\\"mean\\":[' + b"1" * 1000 + b"]", False),
    "1001 digits": (b'\\"mean\\":[0.5]', b'\\"mean\\":[' + b"1" * 1001 + b"]", False),
    "steps beyond 64 bits": (b'\\"time_steps\\":2', b'\\"time_steps\\":18446744073709551618', False),
    "true for 1": (b'\\"stride\\":[1,1]', b'\\"stride\\":[true,1]', False),
    "a deviation of 0": (b'\\"std\\":[0.25]', b'\\"std\\":[0]', False),
    "a key twice": (b'\\"format\\":5', b'\\"format\\":5,\\"format\\":5', False),
    "a key twice by an escape": (b'\\"format\\":5', b'\\"format\\":5,\\"\\\\u0066ormat\\":5', False),
    "a tensor twice": (
        b'"conv.weight":{',
        b'"conv.weight":{"dtype":"U8","shape":[2],"data_offsets":[12,14]},"conv.weight":{',
        False,
    ),
    "a comma at the end": (b'\\"mean\\":[0.5]', b'\\"mean\\":[0.5,]', False),
    "no comma": (b'\\"stride\\":[1,1]', b'\\"stride\\":[1 1]', False),
    "single quotes": (b'\\"format\\":5', b"'format':5", False),
    "a comment": (b'\\"format\\":5', b'\\"format\\":5/**/', False),
    "an unknown escape": (b'\\"a\\"', b'\\"\\\\x61\\"', False),
    "half an escape": (b'\\"a\\"', b'\\"\\\\u00\\"', False),
    "a control character": (b'\\"a\\"', b'\\"\\u0001\\"', False),
    "a line break in a string": (b'\\"a\\"', b'\\"\\n\\"', False),
    "half a surrogate pair": (b'\\"a\\"', b'\\"\\\\ud83d\\"', False),
    "the other half": (b'\\"a\\"', b'\\"\\\\ude00\\\\ud83d\\"', False),
    "a surrogate in UTF-8": (b'\\"a\\"', b'\\"\xed\xa0\xbd\\"', False),
    "an overlong form": (b'\\"a\\"', b'\\"\xc1\xa1\\"', False),
    "a cut code point": (b'\\"a\\"', b'\\"\xe2\x82\\"', False),
    "beyond Unicode": (b'\\"a\\"', b'\\"\xf4\x90\x80\x80\\"', False),
    "a label in UTF-8": (b'\\"a\\"', b'\\"\xf0\x9f\x98\x80 \xc3\xa9\\"', True),
    "a kind that is not printable": (b'\\"kind\\":\\"HDLIF\\"', b'\\"kind\\":\\"\xe2\x80\xae\\"', False),
    "lists in lists": (b'\\"mean\\":[0.5]', b'\\"mean\\":' + b"[" * 500 + b"]" * 500, False),
    "very many lists in lists": (b'\\"mean\\":[0.5]', b'\\"mean\\":' + b"[" * 100_000, False),
    "objects in objects": (b'\\"mean\\":[0.5]', b'\\"mean\\":' + b'{\\"a\\":' * 5000 + b"1" + b"}" * 5000, False),
    "no end": (b'\\"time_steps\\":2}', b'\\"time_steps\\":2', False),
    "digits of a float": (b'\\"mean\\":[0.5]', b'\\"mean\\":[' + b"1" * 5000 + b".5]", False),
    "many digits": (b'\\"labels\\":[', b'\\"labels\\":[-' + b"7" * 2_000_000 + b",", False),
    "many entries": (b'\\"labels\\":[', b'\\"labels\\":[' + b"1," * 100_000, False),
    "a long text": (b'\\"output\\":\\"', b'\\"output\\":\\"' + b"x" * 100_000, False),
    "something behind": (b'\\"time_steps\\":2}', b'\\"time_steps\\":2} 1', False),
    "null": (b'\\"labels\\":[', b'\\"labels\\":[null,', False),
    "an unknown key": (b'\\"format\\":5', b'\\"format\\":5,\\"more\\":1', False),
    "an unknown key of a node": (b'\\"inputs\\":[\\"input\\"]', b'\\"inputs\\":[\\"input\\"],\\"more\\":1', False),
    "an unknown attribute": (b'\\"role\\":\\"body\\"', b'\\"role\\":\\"body\\",\\"more\\":1', False),
    "an optional attribute": (b'\\"role\\":\\"body\\"', b'\\"role\\":\\"body\\",\\"dilation\\":[1,1]', True),
    "another format": (b'\\"format\\":5', b'\\"format\\":6', False),
    "other metadata": (b'{"hdlif":', b'{"more":"","hdlif":', False),
    "an offset beyond 64 bits": (b"[12,14]", b"[12,18446744073709551630]", False),
    "a negative offset": (b"[12,14]", b"[-2,0]", False),
    "offsets that overlap": (b"[12,14]", b"[11,13]", False),
    "offsets with a gap": (b"[12,14]", b"[13,15]", False),
    "a shape whose product overflows": (b'"shape":[2,1]', b'"shape":[4294967296,4294967297]', False),
    "another dtype": (b'"dtype":"U8"', b'"dtype":"I8"', False),
}


@every("old", "new", "is_fine", of=TEXTS.values())
def test_texts_of_a_header_are_taken_as_python_takes_them(old: bytes, new: bytes, is_fine: bool) -> None:
    header, tensors = header_of(GOLDEN.read_bytes())
    assert old in header
    assert accepts(with_header(header.replace(old, new, 1), tensors)) == is_fine


def compare(count: int, seed: int) -> int:
    """Mutations of what fuzzing begins with, several on top of each other; how many both readers take."""
    draw, seeds, taken = random.Random(seed), list(fuzz_artefact.seeds()), 0
    for _ in range(count):
        content = draw.choice(seeds)
        for _ in range(draw.choice((1, 1, 2, 3))):
            content = fuzz_artefact.mutate(content, draw)
        taken += accepts(signed(content))
    return taken


def test_what_python_refuses_the_c_interface_refuses_and_the_other_way_round() -> None:
    assert 20 < compare(300, seed=0) < 280


@pytest.mark.slow
def test_the_same_of_many_more() -> None:
    assert compare(10_000, seed=1) > 1000
