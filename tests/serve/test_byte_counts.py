"""Numbers of bytes are read in the forms that people write."""

import pytest

from hdlif.serve.byte_counts import byte_count


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0),
        ("65536", 65_536),
        ("64K", 65_536),
        ("64k", 65_536),
        ("64KiB", 65_536),
        (" 1M ", 2**20),
        ("1MiB", 2**20),
        ("2g", 2**31),
        ("4GiB", 2**32),
    ],
)
def test_units_are_powers_of_1024(text: str, bytes_: int) -> None:
    assert byte_count(text) == bytes_


@pytest.mark.parametrize(
    "text",
    ["", "K", "64KB", "64MB", "1.5M", "-1", "+1", "1e6", "2^16", "0x10", "1_000", "1,000", "٣", "64 K", "9" * 16],
)
def test_what_is_ambiguous_or_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"64K, 64KiB, 1M or 2G \(K is 1,024 bytes"):
        byte_count(text)
