"""Triton's kernels compiled for GPUs that need not be here, and what they take of one."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget

from hdlif.kernels.gpu import launching

TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
MOST_REGISTERS = 128
"""A thread, which may have 255: at 128 threads an instance, a multiprocessor of 65,536 registers runs four."""
TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.uint8: "*u8",
    torch.int8: "*i8",
    torch.int32: "*i32",
    torch.bool: "*i1",
}


class Call(NamedTuple):
    """A kernel and its arguments by name."""

    kernel: Any
    arguments: dict[str, Any]


class Usage(NamedTuple):
    """Of a thread."""

    registers: int
    spilled: int


def compiled(call: Call, target: tuple[Any, ...]) -> Any:
    """As the launch compiles it for these arguments."""
    constants, signature, aligned = dict[str, Any](), dict[str, str](), {}
    for i, parameter in enumerate(call.kernel.params):
        name = parameter.name
        value = call.arguments[name]
        is_whole = isinstance(value, int) and not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (is_whole and value == 1):
            constants[name] = value
            signature[name] = "constexpr"
        elif isinstance(value, Tensor):
            signature[name] = TYPES[value.dtype]
            aligned[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
            if is_whole and value % 16 == 0:
                aligned[(i,)] = [["tt.divisibility", 16]]
    source = triton.compiler.ASTSource(call.kernel, signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, target=GPUTarget(*target), options=dict(launching.OPTIONS))


def usage(made: Any, folder: Path) -> Usage:
    if "amdgcn" in made.asm:
        of = {
            name: int(value) for name, value in re.findall(r"\.(vgpr\w*|sgpr_spill_count): +(\d+)", made.asm["amdgcn"])
        }
        return Usage(of["vgpr_count"], of["vgpr_spill_count"] + of["sgpr_spill_count"])
    file = folder / "kernel.cubin"
    file.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    said = subprocess.run([tool, "--dump-resource-usage", file], check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)[^\n]* LOCAL:(\d+)", said)
    assert found is not None, said
    registers, stack, local = map(int, found.groups())
    return Usage(registers, stack + local)


def assert_keeps_to_registers(calls: list[Call], target: tuple[Any, ...], folder: Path) -> None:
    for call in calls:
        found = usage(compiled(call, target), folder)
        of: Mapping[str, Any] = {"kernel": call.kernel.__name__, **found._asdict()}
        assert found.spilled == 0, of
        assert found.registers <= MOST_REGISTERS, of
