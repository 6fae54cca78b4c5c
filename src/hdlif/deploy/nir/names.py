"""Names of nodes that every reader of NIR takes: they become attributes of modules, and groups of an HDF5 file."""

import re
from collections.abc import Collection


def plain_name(name: str, taken: Collection[str]) -> str:
    """`name` as an identifier that is not taken.

    >>> plain_name("layer1.0.conv1", ()), plain_name("0", ()), plain_name("a.b", {"a_b"})
    ('layer1_0_conv1', 'node_0', 'a_b_2')
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not plain or not plain[0].isalpha():
        plain = f"node_{plain}"
    found, count = plain, 1
    while found in taken:
        count += 1
        found = f"{plain}_{count}"
    return found
