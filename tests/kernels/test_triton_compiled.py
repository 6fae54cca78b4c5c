"""Triton's kernels compiled for GPUs that need not be here: that they compile, and what they take of one."""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from chunks import CASES, drawn, everything, given_to, written_of
from hdlif.equations.chunk_program import OPERATIONS, ChunkInstruction, ChunkProgram, StreamEncoding
from hdlif.kernels.chunk import FusedStep
from hdlif.kernels.chunk.gpu.source import Kernel, Part, source
from hdlif.kernels.gpu import launching
from hdlif.nn import SteppedNeuron

triton = pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")
compiler = pytest.importorskip("triton.backends.compiler")
pytestmark = pytest.mark.slow

T = 5
TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
MOST_REGISTERS = 128
"""A thread, which may have 255: at 128 threads an instance, a multiprocessor of 65,536 registers runs four."""
TYPES = {torch.float32: "*fp32", torch.uint8: "*u8", torch.int8: "*i8"}
Call = tuple[str, dict[str, Any]]


class Usage(NamedTuple):
    """Of a thread."""

    registers: int
    spilled: int


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Call]]:
    """The text and the arguments of each kernel that would be run."""
    found: list[Call] = []

    def seen(text: str, instances: int, arguments: Mapping[str, Any]) -> None:
        found.append((text, dict(arguments)))

    monkeypatch.setattr(launching, "launch", seen)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    launching.forget()
    yield found
    launching.forget()


def compiled(call: Call, target: tuple[Any, ...]) -> Any:
    """As the launch compiles it for these arguments."""
    text, arguments = call
    kernel = launching.generated(text)
    constants = {name: value for name, value in arguments.items() if name == "BLOCK" or name.startswith("segment")}
    signature, aligned = dict[str, str](), {}
    for i, name in enumerate(kernel.arg_names):
        value = arguments[name]
        if name in constants:
            signature[name] = "constexpr"
        elif isinstance(value, Tensor):
            signature[name] = TYPES[value.dtype]
            aligned[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
            if name == "entries" and value % 16 == 0:
                aligned[(i,)] = [["tt.divisibility", 16]]
    source = triton.compiler.ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, target=compiler.GPUTarget(*target), options=launching.OPTIONS)


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


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_kernels_of_every_neuron_keep_to_registers(
    make: Callable[..., SteppedNeuron], target: tuple[Any, ...], calls: list[Call], tmp_path: Path
) -> None:
    for given in ({}, {"channels": 16}):
        neuron = make(time_steps=T, **given)
        written = written_of(neuron)
        everything(
            FusedStep(written, kernels="triton"),
            given_to(neuron, drawn(T, 8, 16, 8, 8), T),
            T,
            states=len(neuron.states),
        )
    assert len(calls) == 4
    for call in calls:
        found = usage(compiled(call, target), tmp_path)
        assert found.spilled == 0
        assert found.registers <= MOST_REGISTERS


def every_operation(but: str = "") -> ChunkProgram:
    """A program of a value, a bit and a byte, whose result is the sum of all operations on them."""
    names = [name for name in OPERATIONS if name not in ("constant", but)]
    made = [ChunkInstruction("constant", (), 0.3)]
    made += [ChunkInstruction(name, (0, 1, 2) if name == "select" else (0, 3)) for name in names]
    for i in range(len(names)):
        made.append(ChunkInstruction("add", (4 + i, 3 + len(made) - 1 if i else 3)))
    last = 2 + len(made)
    results: tuple[tuple[int, StreamEncoding], ...] = ((last, "values"), (4, "bits"), (5, "bytes"))
    return ChunkProgram(("values", "bits", "bytes"), (), 0, tuple(made), results, (last,))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_each_operation_rounds_once_to_the_nearest(target: tuple[Any, ...]) -> None:
    """As PyTorch's: nothing is contracted, approximate, or takes subnormal numbers for 0."""
    made = made_of(every_operation(), target)
    if target[0] == "cuda":
        found = set(re.findall(r"^\s+([a-z]+(?:\.\w+)*\.f32(?:\.\w+)*)", made.asm["ptx"], re.MULTILINE))
        assert {"add.rn.f32", "mul.rn.f32", "div.rn.f32"} <= found
        assert not [name for name in found if re.search("fma|mad|ftz|approx|full", name)]
        return
    found = set(re.findall(r"= (f(?:add|sub|mul|div|neg|cmp)\b[a-z ]*)", made.asm["llir"]))
    assert {"fadd", "fmul", "fdiv"} <= {one.split()[0] for one in found}
    assert not [one for one in found if re.search("fast|contract|arcp|afn|reassoc|nnan|ninf|nsz", one)]
    assert '"denormal-fp-math-f32"="ieee"' in made.asm["llir"]
    assert "!fpmath" not in made.asm["llir"]
    # A division is made of several operations, which are contracted.
    found = set(re.findall(r"\bv_(?:pk_)?([a-z]+)_f32", made_of(every_operation("divide"), target).asm["amdgcn"]))
    assert {"add", "mul"} <= found
    assert not [one for one in found if re.search("fma|mad|mac", one)]


def made_of(program: ChunkProgram, target: tuple[Any, ...]) -> Any:
    streams = tuple((Part(i, encoding, 0),) for i, encoding in enumerate(program.streams))
    kernel = Kernel(program, False, streams, (), (), ("at all steps",) * 3, (), (False,))
    values, bits, numbers = torch.zeros(64), torch.zeros(8, dtype=torch.uint8), torch.zeros(64, dtype=torch.int8)
    arguments: dict[str, Any] = {"stream0": values, "stream1": bits, "stream2": numbers, "result0": values}
    arguments |= {"result1": bits, "result2": numbers, "sum0": values, "steps": 3, "entries": 64}
    return compiled((source(kernel), {**arguments, "segment0": 16, "BLOCK": 512}), target)
