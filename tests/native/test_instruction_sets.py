"""Which kernels are offered: those that the processor and the system run."""

import platform
from pathlib import Path

import pytest

from hdlif._native import instruction_sets

CPUINFO = Path("/proc/cpuinfo")
AVX2 = {"avx2", "bmi1", "bmi2", "fma"}
AVX512 = AVX2 | {"avx512bw", "avx512dq", "avx512f", "avx512vl"}


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not CPUINFO.exists(), reason="needs Linux on x86-64"
)
def test_they_are_those_that_linux_names() -> None:
    line = next(line for line in CPUINFO.read_text("utf-8").splitlines() if line.startswith("flags"))
    flags = set(line.partition(":")[2].split())
    named = [name for name, needed in (("avx2", AVX2), ("avx512", AVX512)) if needed <= flags]
    assert instruction_sets() == ["scalar", *named]
