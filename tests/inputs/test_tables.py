"""CSV files of numbers: what is read, and what is refused with its place."""

import numpy as np
import pytest

from hdlif.inputs import Unreadable
from hdlif.inputs.tables import MOST_COLUMNS, header_of, parse_table
from special_files import within


@pytest.mark.parametrize(
    ("content", "names", "numbers"),
    [
        (b"1,2\n3,4.5\n", None, [[1, 2], [3, 4.5]]),
        (b"a,b\n1,-2e3\n", ("a", "b"), [[1, -2000]]),
        (b"\xef\xbb\xbfa;b\r\n .5 ;+1.\r\n\r\n", ("a", "b"), [[0.5, 1]]),
        (b'"x, m",y\n1,2\n', ("x, m", "y"), [[1, 2]]),
        (b"0.1", None, [[float(np.float32(0.1))]]),
    ],
)
def test_what_is_read(content: bytes, names: tuple[str, ...] | None, numbers: list[list[float]]) -> None:
    table = parse_table(content)
    assert table.names == names
    assert table.numbers.dtype == np.float32
    assert table.numbers.tolist() == numbers


def test_columns_of_text_and_numbers_are_told_by_name() -> None:
    table = parse_table(b"t,who,a,b\n0, ann ,1,2\n1,bob,3,4\n", text=["who"], columns=["b", "a"])
    assert table.words == {"who": ["ann", "bob"]}
    assert table.names == ("b", "a")
    assert table.numbers.tolist() == [[2, 1], [4, 3]]
    assert list(table.lines) == [2, 3]


def test_refusals() -> None:
    for content in (
        b"",
        b"\n\n",
        b"\xef\xbb\xbf\n",
        b"\n1,2",
        b"a,b\n",
        b"a\0b",
        b"\xff,1",
        b"1,2\n3\n",
        b"a,b\n3\n",
        b"1,2\n\n3,4\n",
        b"a,b\n1,\n",
        b"1,2\n1,nan\n",
        b"1,2\n1,N/A\n",
        b"1,2\n1,Null\n",
        b"1,2\n1,None\n",
        b"1,2\n1,inf\n",
        b"1,2\n1,1_000\n",
        "1,2\n1,\u0663\n".encode(),
        b"a;b\n1;2,5\n",
        b"a,b\n1,1e39\n",
        b"1,2\n1,1e99999\n",
        b"1,nan\n",
        b"nan,nan\n1,2\n",
        b"a,a\n1,2\n",
        b'"a,b\n1,2\n',
        b",".join([b"1"] * (MOST_COLUMNS + 1)),
    ):
        with pytest.raises(Unreadable):
            parse_table(content)
    for content in (b"1,2\n", b"lable,a\nx,2\n", b"label\nx\n", b"label,a\n,2\n"):
        with pytest.raises(Unreadable):
            parse_table(content, text=["label"])


def test_a_header_takes_a_time_that_grows_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ",".join(f"c{place}" for place in range(100_000)).encode()
    for read in (parse_table, lambda content: header_of(content, ".csv")):
        with within(5), pytest.raises(Unreadable, match="100,000 columns, and at most 4,096 are read"):
            read(names)
    monkeypatch.setattr("hdlif.inputs.tables.MOST_COLUMNS", 100_000)
    with within(5):
        assert parse_table(names + b"\n" + b",".join([b"1"] * 100_000)).numbers.shape == (1, 100_000)


def test_a_long_cell_that_is_no_number_is_refused_in_a_time_that_grows_as_it_does() -> None:
    with within(5), pytest.raises(Unreadable, match="is not a number"):
        parse_table(b"1\n" + b"1" * 100_000 + b"x\n")
