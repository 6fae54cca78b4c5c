"""Deployed graphs in NIR: what is written, what is refused by name, and that it is the same network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cases import every
from deployed_graphs import two_streams
from hdlif.deploy import lower
from hdlif.deploy.interop.nir_import import from_nir, read, read_artefact
from hdlif.deploy.nir_export import extended, to_nir, write
from hdlif.errors import LoweringError
from hdlif.functional import HardReset
from hdlif.graph.artefact import TaskRecord, dumps
from hdlif.nn import HDLIF, LIF, BatchNorm2d, Recurrent, Sequential, SpikeQuantizer
from hdlif.runtime import reference
from lif_networks import Residual, T, convolutions, currents, lif, mlp, on_grid, record, spikes_of

nir = pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")


def lowered(network: nn.Module, *shape: int, outputs: int, kind: str = "events", **options: Any):
    labels = tuple(map(str, range(outputs)))
    return lower(network, input=record(*shape, kind=kind), labels=labels, time_steps=T, **options)


def test_a_leaky_neuron_is_written_as_nir_states_it() -> None:
    neuron = lif(leak=0.75, threshold=1.5, reset=HardReset(-0.25))
    graph = to_nir(lowered(on_grid(Sequential(nn.Flatten(), nn.Linear(2, 3), neuron)), 2, 1, 1, outputs=3))
    node = graph.nodes["node_2"]
    assert isinstance(node, nir.LIF)
    # dt/(1 - 3/4) is four steps of 1e-4 s, and R dt/τ is 1.
    np.testing.assert_allclose(node.tau, [4e-4] * 3, rtol=1e-15)
    np.testing.assert_allclose(node.r, [4.0] * 3, rtol=1e-15)
    assert node.v_leak.tolist() == [0.0] * 3
    assert node.v_reset.tolist() == [-0.25] * 3
    # The largest float32 below: what is above it is at least 1.5.
    assert node.v_threshold.tolist() == [1.5 - 2**-23] * 3
    # Ours emits the threshold, NIR's 1.
    assert graph.edges[:3] == [("input", "node_0"), ("node_0", "node_1"), ("node_1", "node_2")]
    np.testing.assert_array_equal(graph.nodes["node_2_scaled_scaled"].weight, 1.5 * np.eye(3))


def test_sizes_of_spikes_and_divisors_of_means_stand_in_weights() -> None:
    network = convolutions()
    graph = to_nir(lowered(network, 2, 8, 8, outputs=3))
    # Spikes of 1/2, and the mean over four of them, which NIR takes itself.
    np.testing.assert_array_equal(graph.nodes["node_3"].weight, network[3].weight.detach() / 2)
    assert isinstance(graph.nodes["node_2"], nir.AvgPool2d)


def test_a_neuron_without_leak_is_an_if() -> None:
    graph = to_nir(lowered(mlp(leak=1.0), 6, 1, 1, outputs=4))
    assert isinstance(graph.nodes["node_2"], nir.IF)
    np.testing.assert_allclose(graph.nodes["node_2"].r, [1e4] * 12)


@every(
    "make",
    "shape",
    "outputs",
    of=[(mlp, (6, 1, 1), 4), (convolutions, (2, 8, 8), 3), (lambda: on_grid(Residual()), (2, 6, 6), 3)],
)
def test_what_is_written_comes_back_as_the_same_network(make, shape, outputs: int, tmp_path: Path) -> None:
    network = make()
    graph = lowered(network, *shape, outputs=outputs)
    write(to_nir(graph), tmp_path / "x.nir")
    assert read_artefact(tmp_path / "x.nir") is None
    found = read(tmp_path / "x.nir")
    assert (found.time_steps, found.input, found.labels) == (T, graph.input, graph.labels)
    x = currents(*shape)
    expected = spikes_of(network, x)
    np.testing.assert_allclose(spikes_of(found.network, x), expected, atol=1e-6)
    assert np.ptp(expected) > 0
    # And once more: nothing is lost in writing it again.
    again = from_nir(to_nir(found.graph()))
    np.testing.assert_array_equal(spikes_of(again.network, x), spikes_of(found.network, x))


def test_maps_come_back_as_maps(tmp_path: Path) -> None:
    network = on_grid(Sequential(nn.Conv2d(2, 4, 3, padding=1), lif(), nn.Conv2d(4, 3, 1)))
    graph = lowered(network, 2, 6, 6, outputs=3, task=TaskRecord("segment"))
    write(to_nir(graph), tmp_path / "x.nir")
    found = read(tmp_path / "x.nir").graph()
    assert (found.labels, found.task) == (graph.labels, graph.task)
    x = currents(2, 6, 6).numpy()
    expected = reference.run(graph, x)
    np.testing.assert_allclose(reference.run(found, x), expected, atol=1e-6)
    assert expected.shape[2:] == (3, 6, 6)
    # Of another library's file nothing is known but the shapes.
    plain = to_nir(graph)
    plain.nodes["input"].metadata.clear()
    assert from_nir(plain).task == graph.task


def test_with_a_resistance_of_one_it_is_the_same_network() -> None:
    network = mlp(leak=0.5, threshold=0.5)
    graph = to_nir(lowered(network, 6, 1, 1, outputs=4), for_norse=True)
    assert set(graph.nodes["node_2"].r) == {1.0}
    np.testing.assert_array_equal(graph.nodes["node_1"].weight, 2 * network[1].weight.detach())
    x = currents(6, 1, 1)
    np.testing.assert_array_equal(spikes_of(from_nir(graph).network, x), spikes_of(network, x))


def of(*neurons: nn.Module) -> nn.Module:
    layers = [layer for neuron in neurons for layer in (nn.Conv2d(2, 2, 3, padding=1), neuron)]
    return Sequential(*layers, nn.Flatten(), nn.Linear(128, 3))


def per_step_norm() -> nn.Module:
    norm = BatchNorm2d(2, time_steps=T)
    norm.running_mean.normal_()
    return of(norm, lif())


def changing() -> nn.Module:
    neuron = LIF(T, learned=True, reset=HardReset())
    with torch.no_grad():
        neuron.leak.logit.copy_(torch.linspace(-1, 1, T))
    return of(neuron)


@every(
    network={
        "graded spikes": of(HDLIF(T)),
        "codes of 4 bits": of(HDLIF(T, quantizer=SpikeQuantizer(bits=4))),
        "a soft reset": of(LIF(T, per_step=False)),
        "a leak that changes": changing(),
        "statistics that change": per_step_norm(),
        "max pool": of(nn.MaxPool2d(1)),
        "groups": Sequential(nn.AvgPool2d(1), nn.Conv2d(2, 2, 1, groups=2), lif(), nn.Flatten(), nn.Linear(128, 3)),
        "feedback": of(Recurrent(lif(), nn.Conv2d(2, 2, 3, padding=1))),
    }
)
def test_what_nir_cannot_say_is_refused_by_name(network: nn.Module) -> None:
    with pytest.raises(LoweringError, match=r"NIR has no node for parts of this network: 1\b"):
        to_nir(lowered(network.eval(), 2, 8, 8, outputs=3))


@every(graph=[two_streams(), lowered(changing().eval(), 2, 8, 8, outputs=3)])
def test_extension_comes_back_in_every_byte(graph, tmp_path: Path) -> None:
    write(extended(graph), tmp_path / "x.nir")
    assert read_artefact(tmp_path / "x.nir") == dumps(graph)
    # Of standard nodes alone, which the package reads.
    kinds = {type(node).__name__ for node in nir.read(tmp_path / "x.nir").nodes.values()}
    assert kinds <= set(nir.ir.__all__)
