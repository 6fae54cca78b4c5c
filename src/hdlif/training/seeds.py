"""Seeds of a training's random numbers."""

import hashlib


def derived_seed(seed: int, purpose: str, index: int) -> int:
    """Return 63 bits that depend on the arguments only, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
