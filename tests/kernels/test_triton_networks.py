"""A whole network by Triton's kernels, in Triton's interpreter, against its layers one by one."""

from functools import partial
from typing import Any

import pytest
import torch

from hdlif.kernels import devices
from hdlif.kernels.batch_norm import gpu as batch_norm
from hdlif.kernels.gpu import launching
from hdlif.nn import SpikeQuantizer
from hdlif.nn.chain import Watch
from hdlif.report import gpu_kernels
from norm_networks import STEPS, assert_alike, run, small_network

pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")
pytestmark = pytest.mark.usefixtures("as_a_gpu")


@pytest.fixture(autouse=True)
def larger_blocks(as_a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each instance takes its time, and sums by length."""
    monkeypatch.setattr(launching, "BLOCK", 256)
    monkeypatch.setattr(batch_norm, "VALUES", 32)


def currents(layout: str = "contiguous") -> torch.Tensor:
    x = torch.randn(STEPS, 2, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    if layout == "contiguous":
        return x
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)


def plain(monkeypatch: pytest.MonkeyPatch, x: torch.Tensor, chunks: tuple[int, ...], **how: Any) -> dict[str, Any]:
    """By PyTorch's operations, layer by layer and step by step."""
    learn = how.pop("learn")
    with monkeypatch.context() as patch:
        patch.setattr(devices, "kernels_for", lambda _: None)
        return run(small_network("steps", **how), x, chunks, learn=learn)


@pytest.mark.parametrize(
    ("per_step", "chunks", "layout", "learn"),
    [
        (False, (4,), "contiguous", True),
        (True, (4,), "channels last", True),
        (True, (1, 3), "contiguous", True),
        (False, (1, 3), "channels last", False),
        (True, (4,), "contiguous", False),
    ],
    ids=str,
)
def test_a_network_is_as_layer_by_layer(
    per_step: bool,
    chunks: tuple[int, ...],
    layout: str,
    learn: bool,
    monkeypatch: pytest.MonkeyPatch,
    launches: list[str],
) -> None:
    x = currents(layout)
    found = run(small_network("fused", per_step=per_step), x, chunks, learn=learn)
    assert_alike(found, plain(monkeypatch, x, chunks, learn=learn, per_step=per_step))
    names = ["a chunk" if name.startswith("import") else name for name in launches]
    of_norm = ["block_moments", "added_moments", "rows", "a chunk", "quantised_spikes"]
    ternary, binary = ["magnitudes", "above_threshold", "ternary_values"], ["binary_values"]
    forward = [*ternary, *of_norm, *binary, *of_norm] * len(chunks)
    backward = ["a chunk", "row_gradients", "add_statistics_gradient"] * (2 * len(chunks))
    assert names == (forward + backward if learn else forward)


def test_a_clip_is_as_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = partial(SpikeQuantizer, bits=1, step=0.5, gradient="clip")
    found = run(small_network("fused", spikes=clips), currents(), (4,), learn=True)
    assert_alike(found, plain(monkeypatch, currents(), (4,), learn=True, spikes=clips))


def test_a_trained_network_is_run_by_its_statistics(monkeypatch: pytest.MonkeyPatch, launches: list[str]) -> None:
    x = currents()
    network, right = small_network("fused", per_step=True), small_network("steps", per_step=True)
    run(network, x, (4,), learn=False)
    right.load_state_dict(network.state_dict())
    network.eval()
    right.eval()
    launches.clear()
    found = run(network, x, (4,), learn=False)
    assert launches.count("rows") == 2
    monkeypatch.setattr(devices, "kernels_for", lambda _: None)
    assert_alike(found, run(right, x, (4,), learn=False))


def test_the_same_bits_twice() -> None:
    first, second = (run(small_network("fused"), currents()[:1], (1,), learn=True) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_steps_one_by_one_and_autocast_have_no_chain(launches: list[str]) -> None:
    run(small_network("steps"), currents(), (4,), learn=False)
    assert "rows" not in launches
    with torch.autocast("cpu", torch.bfloat16):
        run(small_network("fused"), currents(), (4,), learn=False)
    assert "rows" not in launches


def test_without_kernels_there_is_no_chain(monkeypatch: pytest.MonkeyPatch, launches: list[str]) -> None:
    monkeypatch.setattr(devices, "kernels_for", lambda _: None)
    run(small_network("fused"), currents(), (4,), learn=True)
    assert not launches


def test_what_computed_a_layer_is_said(launches: list[str]) -> None:
    network, found = small_network("fused"), dict[str, str]()
    watch = Watch(begin=lambda _: None, end=lambda layer, _, how: found.update({type(layer).__name__: how}))
    for child in network.children():
        watch.attach(child)
    run(network, currents(), (4,), learn=True)
    assert found == {"QuantConv2d": "", "BatchNorm2d": "rows that the neuron applies", "HDLIF": "fused, by Triton"}
    assert "rows" in launches


def test_doctor_s_kernels_are_right_and_wrong_ones_are_seen(
    monkeypatch: pytest.MonkeyPatch, launches: list[str]
) -> None:
    found = list(gpu_kernels.measured_on(torch.device("cpu")))
    assert [one["difference"] for one in found] == [None] * len(found)
    assert {"rows", "ternary_values", "binary_values", "quantised_spikes"} <= set(launches)
    by_kernel, right = gpu_kernels.PAIRS["spikes"]
    wrong = {"spikes": (lambda x: by_kernel(x) * 1.001, right)}
    monkeypatch.setattr(gpu_kernels, "PAIRS", wrong)
    assert gpu_kernels.differing("spikes", torch.device("cpu")) == pytest.approx(1e-3, rel=0.1)
