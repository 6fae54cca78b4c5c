"""Tables and series of numbers: what is read, and what is refused with its place."""

import numpy as np
import pytest

from array_files import npy
from cases import every, naming
from hdlif.inputs import Unreadable, series
from hdlif.inputs.tables import MOST_COLUMNS, header_of, parse_table
from resource_limits import within_cpu_seconds


@every(
    *("content", "names", "numbers"),
    of=[
        (b"1,2\n3,4.5\n", None, [[1, 2], [3, 4.5]]),
        (b"a,b\n1,-2e3\n", ("a", "b"), [[1, -2000]]),
        (b"\xef\xbb\xbfa;b\r\n .5 ;+1.\r\n\r\n", ("a", "b"), [[0.5, 1]]),
        (b'"x, m",y\n1,2\n', ("x, m", "y"), [[1, 2]]),
        (b"0.1", None, [[float(np.float32(0.1))]]),
    ],
)
def test_names_and_numbers_are_read(content: bytes, names: tuple[str, ...] | None, numbers: list[list[float]]) -> None:
    table = parse_table(content)
    assert (table.names, table.numbers.dtype, table.numbers.tolist()) == (names, np.float32, numbers)


def test_columns_of_text_and_numbers_are_told_by_name() -> None:
    table = parse_table(b"t,who,a,b\n0, ann ,1,2\n1,bob,3,4\n", text=["who"], columns=["b", "a"])
    assert table.words == {"who": ["ann", "bob"]}
    assert table.names == ("b", "a")
    assert table.numbers.tolist() == [[2, 1], [4, 3]]
    assert list(table.lines) == [2, 3]


def test_refusals() -> None:
    for content in (
        *(b"", b"\n\n", b"\xef\xbb\xbf\n", b"\n1,2", b"a,b\n", b"a\0b", b"\xff,1", b"1,2\n3\n", b"a,b\n3\n"),
        *(b"1,2\n\n3,4\n", b"a;b\n1;2,5\n", b"1,nan\n", b"nan,nan\n1,2\n", b"a,a\n1,2\n", b'"a,b\n1,2\n'),
        *(b"1,2\n1," + cell for cell in (b"", b"nan", b"N/A", b"Null", b"None", b"inf", b"1_000", b"1e39", b"1e99999")),
        *("1,2\n1,\u0663\n".encode(), b",".join([b"1"] * (MOST_COLUMNS + 1))),
    ):
        with naming(content[:20]), pytest.raises(Unreadable):
            parse_table(content)
    for content in (b"1,2\n", b"lable,a\nx,2\n", b"label\nx\n", b"label,a\n,2\n"):
        with naming(content), pytest.raises(Unreadable):
            parse_table(content, text=["label"])


def test_time_grows_as_the_length_of_a_header_or_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ",".join(f"c{place}" for place in range(100_000)).encode()
    for read in (parse_table, lambda content: header_of(content, ".csv")):
        with within_cpu_seconds(5), pytest.raises(Unreadable, match="100,000 columns"):
            read(names)
    with within_cpu_seconds(5), pytest.raises(Unreadable, match="is not a number"):
        parse_table(b"1\n" + b"1" * 100_000 + b"x\n")
    monkeypatch.setattr("hdlif.inputs.tables.MOST_COLUMNS", 100_000)
    with within_cpu_seconds(5):
        assert parse_table(names + b"\n" + b",".join([b"1"] * 100_000)).numbers.shape == (1, 100_000)


def test_text_and_arrays_give_the_same_series_and_others_are_refused() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    text = "\n".join(",".join(f"{value:.9g}" for value in row) for row in values.tolist()).encode()
    for content, suffix in ((text, ".csv"), (npy(values), ".npy"), (npy(values.astype(np.float64)), ".npy")):
        np.testing.assert_array_equal(series.parse_series(content, suffix), values)
    # One channel may lack its axis.
    assert series.parse_series(npy([1, 2, 3]), ".npy").tolist() == [[1], [2], [3]]
    for no_series in (np.zeros((2, 0)), np.zeros((1, 2, 3)), [[1.0, 2], [3, np.nan]], [1e39], [1j], ["a"]):
        with naming(no_series), pytest.raises(Unreadable):
            series.parse_series(npy(np.array(no_series)), ".npy")
