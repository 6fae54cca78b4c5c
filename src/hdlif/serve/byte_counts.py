"""Parse byte counts such as 65536, 64K, 64KiB and 1M."""

import re

ACCEPTED = "a number of bytes such as 65536, 64K, 64KiB, 1M or 2G (K is 1,024 bytes, M 1,024 K, G 1,024 M)"
_FORM = re.compile(r"([0-9]{1,15})(?:([KMG])(?:IB)?)?")


def byte_count(text: str) -> int:
    """Return the number of bytes that `text` specifies.

    `KB` and `MB` raise an error, because they may mean powers of either 1,000 or 1,024.

    >>> byte_count("64K"), byte_count("64KiB"), byte_count("1m"), byte_count("500")
    (65536, 65536, 1048576, 500)

    Raises:
        ValueError: `text` is not a number of bytes.
    """
    found = _FORM.fullmatch(text.strip().upper())
    if found is None:
        raise ValueError(f"this is not {ACCEPTED}")
    number, unit = found.groups()
    return int(number) << 10 * " KMG".index(unit or " ")
