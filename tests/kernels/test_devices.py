"""Which kernels serve a device."""

from collections.abc import Iterator

import pytest
import torch

from hdlif.kernels import devices
from hdlif.nn import QuantConv2d
from hdlif.nn.fused import fused_by
from hdlif.nn.synapses import Ternary

CPU, GPU, NEITHER = (torch.device(name) for name in ("cpu", "cuda", "meta"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What there is of Triton and compilers."""
    found = {"triton", "gcc"}
    monkeypatch.setattr(devices, "find_spec", lambda name: name if name in found else None)
    monkeypatch.setattr(devices, "which", lambda name: name if name in found else None)
    devices.triton_lacks.cache_clear()
    yield found
    devices.triton_lacks.cache_clear()


def test_a_gpu_has_triton_s_kernels_where_there_is_a_compiler_too(installed: set[str]) -> None:
    assert [devices.kernels_for(device) for device in (CPU, GPU, NEITHER)] == ["native", "triton", None]
    assert fused_by(GPU) == "fused, by Triton"
    for missing, name in (("gcc", "a C compiler"), ("triton", "Triton")):
        installed.discard(missing)
        devices.triton_lacks.cache_clear()
        assert devices.triton_lacks() == name
        assert [devices.kernels_for(device) for device in (CPU, GPU)] == ["native", None]
    assert [fused_by(device) for device in (CPU, GPU)] == ["fused", "fused, by PyTorch's operations"]


def test_under_a_compiler_no_kernel_is_chosen(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert [devices.kernels_for(device) for device in (CPU, GPU)] == [None, None]


def test_convolutions_of_codes_say_that_they_are_the_cpu_s() -> None:
    conv = QuantConv2d(3, 4, 3, quantizer=Ternary())
    x = torch.zeros(1, 3, 5, 5)
    assert conv.hindrance(x, conv.weight, None) == "what it reads is not what quantised neurons emit"
    assert conv.hindrance(x.to(NEITHER), conv.weight, None) == "they run on a CPU, not on meta"
