"""CSV files that `hdlif run` and `--data` are given: whatever the bytes are, a table of numbers, or `Unreadable`."""

import random

import driver
import numpy as np

from hdlif.errors import printable, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.tables import parse_table

WORDS = (
    b",",
    b";",
    b"\n",
    b"\r\n",
    b'"',
    b'""',
    b"\r",
    b"1e9",
    b"1e999",
    b"nan",
    b"-.5",
    b"a",
    b"label",
    b"\xef\xbb\xbf",
    b"1,",
    b" ",
)


def check(error: Unreadable) -> None:
    assert 0 < len(printable(reason(error))) < 1000


def target(data: bytes) -> None:
    for keys in ({}, {"text": ["label"]}, {"columns": ["b", "a"]}, {"known": ["b", "a"]}):
        try:
            table = parse_table(data, **keys)
        except Unreadable as error:
            check(error)
            continue
        rows, columns = table.numbers.shape
        assert rows == len(table.lines) > 0 < columns
        assert list(table.lines) == sorted(set(table.lines))
        assert np.isfinite(table.numbers).all()
        assert table.names is None or len(table.names) == columns
        assert all(len(words) == rows and all(words) for words in table.words.values())


def mutate(data: bytes, draw: random.Random) -> bytes:
    """A piece of a table put in, in place of some bytes."""
    at = draw.randint(0, len(data))
    return data[:at] + draw.choice(WORDS) * draw.choice((1, 1, 2)) + data[at + draw.choice((0, 0, 1, 3)) :]


if __name__ == "__main__":
    driver.main(target, "table", mutate=mutate)
