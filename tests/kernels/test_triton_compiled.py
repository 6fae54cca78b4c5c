"""Triton's kernels compiled for GPUs that need not be here: that they compile, and what they take of one."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from chunks import CASES, drawn, everything, given_to, written_of
from hdlif.equations.chunk_program import OPERATIONS, ChunkInstruction, ChunkProgram, StreamEncoding
from hdlif.kernels import devices
from hdlif.kernels.batch_norm import moments_of
from hdlif.kernels.chunk import FusedStep
from hdlif.kernels.chunk.gpu.source import Kernel, Part, source
from hdlif.kernels.gpu import launching
from hdlif.kernels.weights import binarized, ternarized
from hdlif.nn import SpikeQuantizer, SteppedNeuron
from norms import LAYOUTS, by_rows, drawn_maps, drawn_norm
from quantisers import latent

pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")
from compiling import TARGETS, Call, assert_keeps_to_registers, compiled

pytestmark = pytest.mark.slow

T = 5
on_every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Call]]:
    """Each kernel that would be run, with its arguments."""
    found: list[Call] = []

    def generated(text: str, instances: int, arguments: Mapping[str, Any]) -> None:
        found.append(Call(launching.generated(text), dict(arguments)))

    def written(module: str, name: str, instances: int, arguments: Mapping[str, Any]) -> None:
        found.append(Call(getattr(launching.loaded(module), name), dict(arguments)))

    monkeypatch.setattr(launching, "launch", generated)
    monkeypatch.setattr(launching, "launch_from", written)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    launching.forget()
    yield found
    launching.forget()


@on_every_target
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
    assert_keeps_to_registers(calls, target, tmp_path)


@on_every_target
@pytest.mark.parametrize("size", [(64, 8, 8), (3, 5, 7)], ids=str)
def test_kernels_of_batch_norm_keep_to_registers(
    size: tuple[int, int, int],
    target: tuple[Any, ...],
    calls: list[Call],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "kernels_for", lambda _: "triton")
    shape = (T, 4, *size)
    for layout in LAYOUTS:
        by_rows(drawn_maps(shape, layout), drawn_norm(shape, per_step=True))
    norm = drawn_norm(shape, of_batch=False)
    norm.rows(moments_of(drawn_maps(shape, layout)))
    assert len(calls) == 2 * 5 + 3
    assert_keeps_to_registers(calls, target, tmp_path)


@on_every_target
def test_kernels_of_quantisers_keep_to_registers(
    target: tuple[Any, ...], calls: list[Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "kernels_for", lambda _: "triton")
    for shape in ((64, 64, 3, 3), (7, 3)):
        ternarized(latent(*shape))
        binarized(latent(*shape))
    for spike in (drawn(T, 4, 64, 8, 8), drawn(7)):
        SpikeQuantizer()(spike)
        SpikeQuantizer(gradient="clip")(spike.requires_grad_())
    assert len(calls) == 2 * 4 + 2 * 2
    assert_keeps_to_registers(calls, target, tmp_path)
    for call in calls:
        assert_rounds_once(compiled(call, target))


def floats_in(made: Any) -> set[str]:
    """The instructions on float32 of an NVIDIA GPU."""
    return set(re.findall(r"^\s+([a-z]+(?:\.\w+)*\.f32(?:\.\w+)*)", made.asm["ptx"], re.MULTILINE))


def assert_rounds_once(made: Any) -> None:
    """That no operation on float32 is contracted or approximate, or takes subnormal numbers for 0."""
    if "ptx" in made.asm:
        assert not [name for name in floats_in(made) if re.search("fma|mad|ftz|approx|full", name)]
    else:
        assert not re.findall(r"\bv_(?:pk_)?(?:fma|mad|mac|fmac)_f32", made.asm["amdgcn"])


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


@on_every_target
def test_each_operation_rounds_once_to_the_nearest(target: tuple[Any, ...]) -> None:
    """As PyTorch's: nothing is contracted, approximate, or takes subnormal numbers for 0."""
    made = made_of(every_operation(), target)
    if target[0] == "cuda":
        assert {"add.rn.f32", "mul.rn.f32", "div.rn.f32"} <= floats_in(made)
        assert_rounds_once(made)
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
    generated = launching.generated(source(kernel))
    return compiled(Call(generated, {**arguments, "segment0": 16, "BLOCK": 512}), target)
