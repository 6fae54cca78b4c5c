"""Freed memory stays with the process that trains, where the C library can be told so."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from hdlif.report.allocator import keep_freed_memory

kept = {keep} and keep_freed_memory()
block = np.ones(2**23)
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = np.ones(2**23)
    del block
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
LIBRARY, VERSION = platform.libc_ver()
pytestmark = pytest.mark.skipif(
    LIBRARY != "glibc" or tuple(map(int, VERSION.split("."))) < (2, 35), reason="before 2.35 glibc keeps 32 MiB at most"
)


@pytest.mark.parametrize(
    ("keep", "settings", "kept"),
    [
        (False, {}, False),
        (True, {}, True),
        # The user's settings stand.
        (True, {"MALLOC_ARENA_MAX": "1"}, False),
        (True, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}, False),
    ],
)
def test_blocks_are_taken_up_again_without_the_kernel(keep: bool, settings: dict[str, str], kept: bool) -> None:
    """Ten blocks of 64 MiB fault in their pages ten times, or not at all."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    program = [sys.executable, "-c", FAULTS.format(keep=keep)]
    child = subprocess.run(program, env=environment | settings, check=True, capture_output=True, text=True)
    said, faults = child.stdout.split()
    assert (said, int(faults) < 100) == (str(kept), kept)
