"""The same spikes, step for step, through NIR: from ours to each library, and from each library to ours.

On a dyadic grid, where every sum is exact, so that nothing is beside a threshold by rounding. Versions:
docs/how_to/nir.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.deploy import lower
from hdlif.deploy.interop.nir_import import read
from hdlif.deploy.nir_export import to_nir, write
from hdlif.runtime import reference
from lif_networks import Residual, T, convolutions, currents, mlp, on_grid, record, spikes_of

nir = pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")
pytestmark = pytest.mark.peers

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (mlp, (6, 1, 1), 4),
    "convolutions": (convolutions, (2, 8, 8), 3),
    "residual": (lambda: on_grid(Residual()), (2, 6, 6), 3),
}


def written(name: str, path: Path, *, for_norse: bool = False) -> tuple[Any, nn.Module, Tensor]:
    """A network of ours through a file, and what it is shown."""
    make, shape, outputs = NETWORKS[name]
    network = make()
    labels = tuple(map(str, range(outputs)))
    graph = lower(network, input=record(*shape), labels=labels, time_steps=T)
    write(to_nir(graph, for_norse=for_norse), path)
    return nir.read(path), network, currents(*shape)


def stepped(run: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.stack([run(step).numpy() for step in x])


def carrying(network: Any) -> Callable[[Tensor], Tensor]:
    """One step of a graph module of nirtorch, which gives its state back."""
    state: Any = None

    def run(x: Tensor) -> Tensor:
        nonlocal state
        y, state = network(x, state)
        return y

    return run


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.1


def jelly(name: str) -> Any:
    return pytest.importorskip(f"spikingjelly.activation_based.{name}")


LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "spikingjelly": lambda graph: jelly("nir_exchange").import_from_nir(graph),
    "snntorch": lambda graph: pytest.importorskip("snntorch.import_nir").import_from_nir(graph),
    "norse": lambda graph: pytest.importorskip("norse.torch").from_nir(graph, dt=1e-4),
}


@pytest.mark.parametrize("library", LIBRARIES)
@every(name=list(NETWORKS), for_norse=[False, True])
def test_ours_runs_in_each_library(library: str, name: str, for_norse: bool, tmp_path: Path) -> None:
    if library == "norse" and not for_norse:
        return
    graph, network, x = written(name, tmp_path / "x.nir", for_norse=for_norse)
    theirs = LIBRARIES[library](graph)
    assert_same(stepped(carrying(theirs), x), spikes_of(network, x))


def through_a_file(graph: Any, path: Path, **options: Any) -> Any:
    nir.write(path, graph)
    return read(path, time_steps=T, **options)


def deep() -> nn.Module:
    neuron, layers = jelly("neuron"), jelly("layer")
    return nn.Sequential(
        layers.Conv2d(2, 4, 3, padding=1, bias=False),
        neuron.LIFNode(tau=2.0, decay_input=False, v_reset=0.0),
        layers.AvgPool2d(2),
        layers.Conv2d(4, 4, 3, padding=1),
        neuron.IFNode(v_reset=0.0),
        layers.Flatten(),
        layers.Linear(64, 8),
        neuron.LIFNode(tau=4.0, decay_input=True, v_threshold=0.5, v_reset=-0.25),
    )


def of_a_current_that_decays() -> nn.Module:
    node = jelly("neuron").CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=1.0, v_reset=0.0)
    return nn.Sequential(nn.Linear(6, 12), node)


@every("make", "shape", of=[(deep, (2, 8, 8)), (of_a_current_that_decays, (6,))])
def test_spikingjelly_runs_here(make: Callable[[], nn.Module], shape: tuple[int, ...], tmp_path: Path) -> None:
    theirs, x = on_grid(make()), currents(*shape)
    graph = jelly("nir_exchange").export_to_nir(theirs, x[0])
    jelly("functional").reset_net(theirs)
    expected = stepped(theirs, x)
    found = through_a_file(graph, tmp_path / "x.nir", fires_at_threshold=True)
    assert_same(spikes_of(found.network, x), expected)
    if make is deep:
        assert_same(reference.run(found.graph(), x.numpy(), T), expected)


@every(is_recurrent=[False, True])
def test_snntorch_runs_here(is_recurrent: bool, tmp_path: Path) -> None:
    snn = pytest.importorskip("snntorch")
    exporting = pytest.importorskip("snntorch.export_nir")
    options = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}

    def leaky(n: int) -> nn.Module:
        if is_recurrent:
            return snn.RLeaky(beta=torch.full((n,), 0.5), linear_features=n, **options)
        return snn.Leaky(beta=torch.full((n,), 0.5), threshold=torch.full((n,), 1.0), **options)

    theirs, x = nn.Sequential(nn.Linear(6, 12), leaky(12), nn.Linear(12, 4), leaky(4)), currents(6)
    on_grid(theirs)
    graph = exporting.export_to_nir(theirs, x[0, 0])
    for layer in (theirs[1], theirs[3]):
        layer.reset_mem()
    expected = stepped(theirs, x)
    found = through_a_file(graph, tmp_path / "x.nir")
    assert_same(spikes_of(found.network, x), expected)
    assert_same(reference.run(found.graph(), x.numpy()[..., None, None], T), expected)


def test_norse_runs_here(tmp_path: Path) -> None:
    norse = pytest.importorskip("norse.torch")

    def box(n: int, v_leak: float = 0.0) -> nn.Module:
        values = {"tau_mem_inv": 500.0, "v_leak": v_leak, "v_th": 1.0}
        return norse.LIFBoxCell(norse.LIFBoxParameters(**{k: torch.full((n,), v) for k, v in values.items()}))

    theirs = norse.SequentialState(nn.Linear(6, 12), box(12), nn.Linear(12, 4, bias=False), box(4, 0.25))
    on_grid(theirs)
    with torch.no_grad():
        theirs[0].weight.mul_(2)
        theirs[2].weight.mul_(2)
    x = currents(6)
    graph = norse.to_nir(theirs, x[0, 0])
    expected = stepped(carrying(theirs), x)
    # norse 1.1.0 writes its time constants times its step of 1e-3 s.
    found = through_a_file(graph, tmp_path / "x.nir", dt=1e-6)
    assert_same(spikes_of(found.network, x), expected)
