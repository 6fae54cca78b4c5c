"""NIR graphs, written by hand, as networks of ours: equations, refusals, and files that are not trusted."""

import contextlib
import itertools
import operator
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import every
from hdlif.deploy.interop.nir_import import from_nir, read
from hdlif.errors import ConversionError, HdlifError, InputError
from hdlif.learning import STBP
from lif_networks import T, currents, spikes_of

nir = pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")
h5py = pytest.importorskip("h5py")
DT = 1e-4


def lif(n: int = 2, **values: Any) -> Any:
    """τ of two steps, R so that currents count as they are, threshold 1."""
    given = {"tau": 2 * DT, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **values}
    return nir.LIF(**{key: np.full(n, value) for key, value in given.items()})


def graph(*nodes: Any, shape: tuple[int, ...] = (2,), outputs: int = 2, **others: Any) -> Any:
    names = {f"n{i}": node for i, node in enumerate(nodes)}
    order = ["input", *names, "output"]
    ends = {
        "input": nir.Input(input_type={"input": np.array(shape)}),
        "output": nir.Output({"output": np.array([outputs])}),
    }
    return nir.NIRGraph({**ends, **names}, list(itertools.pairwise(order)), type_check=False, **others)


def traced(network: Any, *steps: float) -> list[float]:
    """What the first output is when both inputs are these numbers, step by step."""
    x = torch.tensor(steps).view(-1, 1, 1, 1, 1).expand(-1, 1, 2, 1, 1)
    return spikes_of(network, x)[:, 0, 0].tolist()


def test_a_spike_resets_and_a_membrane_leaks_as_nir_says() -> None:
    # v: 0.75, 0.375 + 0.75 = 1.125 > 1 fires, 0.5, 0.25 + 0.75 = 1 does not fire, 0.5 + 0.6 = 1.1 fires.
    steps = 0.75, 0.75, 0.5, 0.75, 0.6
    assert traced(from_nir(graph(lif())).network, *steps) == [0, 1, 0, 0, 1]
    # As SpikingJelly runs it: 1 fires, and 0.6 is far from it.
    assert traced(from_nir(graph(lif()), fires_at_threshold=True).network, *steps) == [0, 1, 0, 1, 0]


def of_two(*values: float) -> tuple[Any, ...]:
    return tuple(np.full(2, value) for value in values)


@every(
    "node",
    "steps",
    "spikes",
    of=[
        # R dt/τ = 1/2: currents count half.
        (lif(r=1.0), (1.5, 1.5, 1.0), [0, 1, 0]),
        # From a rest of -1, a threshold of 0 is 1 above it; it is reset to 1/2 above it.
        (lif(v_leak=-1.0, v_threshold=0.0, v_reset=-0.5), (1.25, 1.0, 0.5), [1, 1, 0]),
        (nir.IF(*of_two(1 / DT, 1.0)), (0.5, 0.5, 0.25, 1.0), [0, 0, 1, 0]),
        (nir.Threshold(*of_two(0.5)), (0.5, 0.75, 0.25), [0, 1, 0]),
        # I: 1/2, 3/4, 3/8; v: 1/2, 1/4 + 3/4 = 1, 1/2 + 3/8
        (nir.CubaLI(*of_two(2 * DT, 2 * DT, 2.0, 0.0), w_in=np.ones(2)), (1.0, 1.0, 0.0), [0.5, 1.0, 0.875]),
        # The same current; v: 1/2, 1 fires at 0.875, 3/8
        (nir.CubaLIF(*of_two(2 * DT, 2 * DT, 2.0, 0.0, 0.875), w_in=np.ones(2)), (1.0, 1.0, 0.0), [0, 1, 0]),
        (nir.LI(*of_two(2 * DT, 2.0, 0.25)), (1.0, 0.5), [1.25, 1.25]),
        (nir.I(*of_two(2 / DT)), (1.0, 0.5), [2.0, 3.0]),
        (nir.Scale(scale=np.array([3.0, 1.0])), (1.0, 0.5), [3.0, 1.5]),
    ],
)
def test_each_node_by_hand(node: Any, steps: tuple[float, ...], spikes: list[float]) -> None:
    assert traced(from_nir(graph(node)).network, *steps) == spikes


def test_the_artefact_gives_what_the_network_gives() -> None:
    from hdlif.runtime import reference

    w, b = np.array([[2.0, 0.25], [1.0, -0.5]], np.float32), np.array([0.125, 0.5], np.float32)
    rest = lif(v_leak=-1.0, v_threshold=-0.25, v_reset=-1.0)
    found = from_nir(graph(nir.Affine(w, b), lif(r=1.0), nir.Linear(w), rest), time_steps=T)
    x = currents(2, 1, 1)
    expected = spikes_of(found.network, x)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(reference.run(found.graph(), x.numpy(), T), expected)


def test_maps_pools_and_sums_of_branches() -> None:
    weight = np.full((2, 1, 3, 3), 0.25, np.float32)
    conv = nir.Conv2d((4, 4), weight, 1, "same", 1, 1, np.zeros(2, np.float32))
    ends = {"input": nir.Input({"input": np.array([1, 4, 4])}), "output": nir.Output({"output": np.array([8])})}
    pool = nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    flat = nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1)
    fire = nir.LIF(*(np.full((2, 2, 2), v) for v in (DT, 1.0, 0.0, 0.5)))
    edges = [
        ("input", "a"),
        ("input", "b"),
        ("a", "pool"),
        ("b", "pool"),
        ("pool", "fire"),
        ("fire", "flat"),
        ("flat", "output"),
    ]
    nodes = {**ends, "a": conv, "b": conv, "pool": pool, "fire": fire, "flat": flat}
    found = from_nir(nir.NIRGraph(nodes, edges, type_check=False))
    x = torch.zeros(1, 1, 1, 4, 4)
    x[..., 0, 0] = 0.5
    # Four places of the first window see the one pixel, in both branches: 4 · 2 · 1/4 · 1/2 = 1.
    assert spikes_of(found.network, x).reshape(2, 4).tolist() == [[1, 0, 0, 0]] * 2


def recurrent(weight: Any) -> Any:
    """One neuron layer that its spikes reach at the next step, in a subgraph, as snnTorch writes it."""
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([2])}),
            "lif": lif(),
            "w": nir.Linear(weight),
            "output": nir.Output({"output": np.array([2])}),
        },
        [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
        type_check=False,
    )
    return graph(inner)


def test_feedback_arrives_at_the_next_step() -> None:
    # 1.25 fires and is reset; the spike gives -1 to the next step: 1.25 - 1 = 0.25; then 0.125 + 1.25 fires again.
    found = from_nir(recurrent(-np.eye(2, dtype=np.float32)))
    assert traced(found.network, 1.25, 1.25, 1.25) == [1, 0, 1]


def test_what_is_read_trains() -> None:
    w = np.eye(2, dtype=np.float32)
    found = from_nir(graph(nir.Linear(w), lif(), nir.Linear(w)), time_steps=T)
    rule = STBP()
    x, y = currents(2, 1, 1), torch.tensor([0, 1, 0, 1, 1])
    for step in rule(found.network, x, y, rule.schedule(T, torch.Generator())):
        step.loss.backward()
    grads = [p.grad for p in found.network.parameters()]
    assert grads
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads)


def cycle() -> Any:
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("b", "output")]
    ends = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    w = nir.Linear(np.eye(2, dtype=np.float32))
    return nir.NIRGraph({**ends, "a": w, "b": lif(), "c": lif()}, edges, type_check=False)


def unjoined() -> Any:
    found = graph(lif())
    found.edges = found.edges[1:]
    return found


def two_outputs() -> Any:
    found = graph(lif())
    found.nodes["other"] = nir.Output({"output": np.array([2])})
    return found


ONE = np.ones((3, 2, 2), np.float32)


@every(
    "make",
    "said",
    of=[
        (lambda: graph(*[nir.Delay(delay=np.full(2, DT))] * 2), "n0 (Delay), n1 (Delay)"),
        (cycle, "form a cycle"),
        (unjoined, "does not depend on the input"),
        (two_outputs, "2 outputs"),
        (lambda: graph(nir.Linear(np.ones((2, 3), np.float32))), "n0 takes [3]"),
        (lambda: graph(lif(3)), "n0.tau"),
        (lambda: graph(lif(tau=DT / 2)), "n0: a time constant of 5e-05"),
        (lambda: graph(lif(tau=-DT)), "n0: a time constant of -0.0001"),
        (lambda: graph(lif(v_threshold=np.nan)), "n0.v_threshold"),
        (lambda: graph(nir.Linear(np.eye(2)), outputs=3), "the output the shape [3]"),
        (lambda: graph(nir.Affine(np.eye(2), np.zeros(3))), "n0.bias"),
        (lambda: graph(nir.Threshold(np.arange(12.0).reshape(3, 2, 2)), shape=(3, 2, 2)), "n0.v_threshold differs"),
        (lambda: graph(nir.Conv2d((2, 2), ONE[:, :, None], 1, 0, 1, 1, np.zeros(3)), shape=(3, 2, 2)), "n0: weights"),
        (lambda: graph(lif(), shape=(2, 3, 4, 5)), "the input has the shape [2"),
        (lambda: graph(nir.Flatten({"input": np.array([3, 2, 2])}, 1, -1), shape=(3, 2, 2)), "n0 flattens"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(said)):
        from_nir(make())


@every(
    change={
        "a link": lambda group: operator.setitem(group, "tau", h5py.ExternalLink("/etc/passwd", "/x")),
        "data elsewhere": lambda group: group.create_dataset(
            "tau", shape=(2,), dtype="f8", external=[("/etc/passwd", 0, 16)]
        ),
        "huge": lambda group: group.create_dataset(
            "tau", shape=(2**40,), dtype="f8", chunks=(2**16,), compression="gzip"
        ),
        "deep": lambda group: group.create_group("/".join(["tau"] * 50)),
        "a circle": lambda group: operator.setitem(group, "tau", group.file["node"]),
        "complex numbers": lambda group: group.create_dataset("tau", data=np.zeros(2, np.complex64)),
    }
)
def test_files_that_reach_too_far_are_refused(change: Callable[[Any], None], tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    nir.write(path, graph(lif()))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n0/tau"]
        change(file["node/nodes/n0"])
    with pytest.raises(InputError, match=f"^{path}"):
        read(path)


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    for content in (b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(InputError):
            read(path)
    os.mkfifo(tmp_path / "y.nir")
    with pytest.raises(InputError):
        read(tmp_path / "y.nir")


@pytest.mark.slow
def test_damaged_files_are_refused_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the library waits for without end, as it does on some of these, is given up.
    monkeypatch.setattr("hdlif.inputs.hdf5_tree.SECONDS", 2)
    path = tmp_path / "x.nir"
    nir.write(path, graph(nir.Linear(np.eye(2, dtype=np.float32)), lif()))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for case in range(12):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            content[place] = rng.integers(256)
        path.write_bytes(whole[: len(whole) * case // 4] if case < 4 else content)
        with contextlib.suppress(HdlifError):
            read(path)
            continue
        refused += 1
    assert refused > 4


def test_a_library_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdlif.inputs.hdf5_tree.SECONDS", 0.001)
    # The library itself may be done with so small a file before this process waits for it.
    endless = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr("hdlif.inputs.hdf5_tree.module_command", lambda name: endless)
    nir.write(tmp_path / "x.nir", graph(lif()))
    with pytest.raises(InputError, match=r"the HDF5 library needs more than 0.001 s"):
        read(tmp_path / "x.nir")


def test_a_group_named_as_a_place_is_a_group(tmp_path: Path) -> None:
    nir.write(tmp_path / "x.nir", graph(lif()))
    with h5py.File(tmp_path / "x.nir", "r+") as file:
        file["node/nodes/n0"].create_group("metadata").create_dataset("array", data="a0")
    assert read(tmp_path / "x.nir").time_steps == 4
