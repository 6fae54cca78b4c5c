"""Seeds for everything that a training draws."""

import hashlib


def derived_seed(seed: int, purpose: str, index: int) -> int:
    """63 bits that depend on all three alone, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
