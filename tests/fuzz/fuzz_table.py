"""CSV files that `hdlif run` and `--data` are given: whatever the bytes are, a table of numbers, or `Unreadable`."""

import driver
import numpy as np

from hdlif.inputs import Unreadable
from hdlif.inputs.tables import parse_table

WORDS = (b",", b";", b"\n", b"\r\n", b'"', b'""', b"\r", b"1e9", b"1e999", b"nan", b"-.5", b"a", b"label", b"1,", b" ")


def target(data: bytes) -> None:
    for keys in ({}, {"text": ["label"]}, {"columns": ["b", "a"]}, {"known": ["b", "a"]}):
        try:
            table = parse_table(data, **keys)
        except Unreadable:
            continue
        rows, columns = table.numbers.shape
        assert rows == len(table.lines) > 0 < columns
        assert list(table.lines) == sorted(set(table.lines))
        assert np.isfinite(table.numbers).all()
        assert table.names is None or len(table.names) == columns
        assert all(len(words) == rows and all(words) for words in table.words.values())


if __name__ == "__main__":
    driver.main(target, "table", mutate=driver.put_in(WORDS))
