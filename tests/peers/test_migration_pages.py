"""The code of the migration pages runs as it stands, on tiny data in the form in which each set is published."""

import pickle
import re
import struct
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import hdlif
import hdlif.functional
import hdlif.nn
from hdlif.inputs.datasets import CIFAR10_CLASSES
from small_sets import CIFAR_FILES, write_fashion_mnist

pytestmark = pytest.mark.peers
DOCS = Path(__file__).parents[2] / "docs"


class Python2(pickle._Pickler):  # type: ignore[misc]
    """Writes bytes as the strings of Python 2, in which CIFAR-10 was published."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[bytes] = save_bytes


def write_cifar10(root: Path) -> None:
    (root / "cifar-10-batches-py").mkdir()
    rng = np.random.default_rng(0)
    for name in (*CIFAR_FILES, "batches.meta"):
        pixels = rng.integers(0, 256, (10, 3072), np.uint8)
        content = {b"data": pixels, b"labels": list(range(10))}
        if name == "batches.meta":
            content = {b"label_names": [one.encode() for one in CIFAR10_CLASSES]}
        with (root / "cifar-10-batches-py" / name).open("wb") as file:
            Python2(file, protocol=2).dump(content)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `data` with few samples of each set, whose numbers and digests are not asked for."""
    root = tmp_path / "data"
    root.mkdir()
    write_fashion_mnist(root, (40, 20))
    (root / "FashionMNIST").rename(root / "MNIST")
    write_cifar10(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    monkeypatch.setattr(hdlif.data, "cifar10", partial(hdlif.data.cifar10, per_class=(5, 1)))


def run_page(name: str) -> dict[str, object]:
    """Run the page's code, with one epoch of each training."""
    text = (DOCS / name).read_text("utf-8")
    blocks = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks):
        code = re.sub(r"EPOCHS = (\d+), (\d+)", r"EPOCHS = \1, 1", block)
        exec(compile(code, f"{name}, block {number + 1}", "exec"), names)
    assert names["EPOCHS"] == 1
    return names


def test_the_page_of_spikingjelly_runs(data: None) -> None:
    pytest.importorskip("spikingjelly", reason="pip install spikingjelly")
    torch.manual_seed(0)
    names = run_page("tutorials/from_spikingjelly.md")
    assert Path("cifar10.hdlif.safetensors").exists()
    assert Path("theirs.hdlif.safetensors").exists()
    assert len(names["spikes"].records) == 17  # type: ignore[attr-defined]


def assert_same_spikes_and_gradients(
    ours: str, current: torch.Tensor, expected: torch.Tensor, gain: float = 1.0
) -> None:
    """Compare the neuron of an expression, for `gain` times this current, with the spikes of another library's."""
    found, _ = eval(ours, {**vars(hdlif.nn), **vars(hdlif.functional), "T": 8})(current * gain, None, range(8))
    assert 0.1 < expected.mean() < 0.9
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(current)
    gradients = [torch.autograd.grad((y * weights).sum(), current)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_neurons_beside_one_another_on_the_page_of_spikingjelly_are_equal() -> None:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", reason="pip install spikingjelly")
    text = (DOCS / "tutorials/from_spikingjelly.md").read_text("utf-8")
    rows = re.findall(r"^\| `(L?IFNode\(.*?\))` \| `(UnitLIF\(.*?\))`", text, re.MULTILINE)
    assert len(rows) >= 3
    torch.manual_seed(0)
    for theirs, ours in rows:
        node = eval(theirs, vars(neurons))
        node.step_mode = "m"
        gain = 1 / node.tau if getattr(node, "decay_input", False) else 1.0
        current = (1.2 / gain * torch.rand(8, 5, 100)).requires_grad_()
        assert_same_spikes_and_gradients(ours, current, node(current), gain)


def test_neurons_beside_one_another_on_the_page_of_snntorch_are_equal() -> None:
    snn = pytest.importorskip("snntorch", reason="pip install snntorch")
    text = (DOCS / "tutorials/from_snntorch.md").read_text("utf-8")
    rows = re.findall(r"^\| `(snn\.Leaky\(.*?\))`.*? \| `((?:LateReset|Unit)LIF\(.*\))`", text, re.MULTILINE)
    assert len(rows) >= 2
    torch.manual_seed(0)
    for theirs, ours in rows:
        node = eval(theirs, {"snn": snn})
        current, mem, spikes = (0.8 * torch.rand(8, 5, 100)).requires_grad_(), node.reset_mem(), []
        for step in current:
            spk, mem = node(step, mem)
            spikes.append(spk)
        assert_same_spikes_and_gradients(ours, current, torch.stack(spikes))


def test_the_page_of_snntorch_runs(data: None) -> None:
    pytest.importorskip("snntorch", reason="pip install snntorch")
    torch.manual_seed(0)
    names = run_page("tutorials/from_snntorch.md")
    assert Path("theirs.hdlif.safetensors").exists()
    assert 0 <= names["accuracy"] <= 1  # type: ignore[operator]
