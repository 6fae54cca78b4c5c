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

if {keep}:
    assert keep_freed_memory()
block = np.ones(2**23)
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = np.ones(2**23)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

LIBRARY, VERSION = platform.libc_ver()
on_glibc = pytest.mark.skipif(LIBRARY != "glibc", reason="of glibc alone")
keeps_any_block = pytest.mark.skipif(
    LIBRARY != "glibc" or tuple(map(int, VERSION.split("."))) < (2, 35), reason="before 2.35 glibc keeps 32 MiB at most"
)


def page_faults(*, keep: bool) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    child = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], env=environment, check=True, capture_output=True, text=True
    )
    return int(child.stdout)


@keeps_any_block
def test_blocks_are_taken_up_again_without_the_kernel() -> None:
    """Ten blocks of 64 MiB fault in their pages ten times, or not at all."""
    assert page_faults(keep=True) < 100 < page_faults(keep=False)


@on_glibc
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_the_users_settings_stand(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    said = "from hdlif.report.allocator import keep_freed_memory; print(keep_freed_memory())"
    for more, set_here in (({}, "True"), ({name: "1"}, "False")):
        child = subprocess.run(
            [sys.executable, "-c", said], env=environment | more, check=True, capture_output=True, text=True
        )
        assert child.stdout.split() == [set_here]
