"""Numbers of bytes are read in the forms that people write."""

import pytest

from hdlif.serve.byte_counts import byte_count


def test_units_are_powers_of_1024() -> None:
    texts = {"0": 0, "65536": 2**16, "64K": 2**16, "64k": 2**16, "64KiB": 2**16, " 1M ": 2**20, "2g": 2**31}
    assert {text: byte_count(text) for text in texts} == texts


def test_what_is_ambiguous_or_no_number_is_refused() -> None:
    for text in (*("", "K", "64KB", "64MB", "1.5M", "-1", "+1", "1e6", "2^16"), "1_000", "٣", "64 K", "9" * 16):
        with pytest.raises(ValueError, match=r"64K, 64KiB, 1M or 2G \(K is 1,024 bytes"):
            byte_count(text)
