"""Reversible networks from a recipe: what they go with, two steps of training, and the same network deployed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.cli.export import export_file as export
from hdlif.graph.artefact.io import load
from hdlif.models import Network
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.runtime import Session, reference
from hdlif.training import Accelerator, Updater, sgd
from hdlif.training.checkpoint import save_model

MODEL = "model={kind: reversible_resnet, width: 8, blocks: [2, 2]}"


def recipe(*overrides: str) -> Recipe:
    chosen = load_recipe("digits_hdlif", [MODEL, "data.batch_size=16", "time_steps=3", *overrides])
    builders.check(chosen)
    return chosen


def trained(chosen: Recipe) -> Network:
    """After two updates, with the statistics of the batches."""
    torch.manual_seed(0)
    network = builders.build_model(chosen).train()
    rule = builders.build_rule(chosen)
    optimizer = sgd(network, learning_rate=0.05, momentum=0.9, weight_decay=0.0)
    accelerator = Accelerator("cpu")
    update = Updater(accelerator, network, optimizer, rule, penalty=builders.build_penalty(chosen))
    train = builders.build_data(chosen).train
    before = [parameter.clone() for parameter in network.parameters()]
    for step in range(2):
        x, target = train.sequence(torch.arange(16 * step, 16 * step + 16))
        loss = update(x, target, rule.schedule(chosen.time_steps, torch.Generator().manual_seed(step)))
        assert np.isfinite(loss)
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True) if old.ndim > 1)
    return network.eval()


@pytest.mark.parametrize(
    "overrides",
    [
        ["neuron={kind: lif}", "rule={kind: stbp}"],
        ["neuron={kind: glif}", "rule={kind: sltt}", "weights={kind: binary}"],
        ["neuron={kind: graded_lif}", "rule={kind: ottt}", "weights={kind: integer, bits: 4}"],
        ["neuron={kind: hdlif, parallel: alternate}", "weights={kind: ternary}", "spikes={kind: quantised}"],
        ["neuron={kind: hdlif, mem_bn: true}", "rule={kind: ndot}", "activity={kind: density, target: 0.1}"],
        ["neuron={kind: parallel_hdlif}", "rule={kind: stbp}", "activity={kind: sops, sops: 1.0e4}"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_two_updates_then_the_runtime_agrees_with_torch(overrides: list[str], tmp_path: Path) -> None:
    chosen = recipe(*overrides)
    network = trained(chosen)
    save_model(tmp_path / "model.safetensors", network, {"recipe": chosen.model_dump(mode="json")})
    export(tmp_path, out=tmp_path / "net.hdlif.safetensors")
    graph = load(tmp_path / "net.hdlif.safetensors")
    assert sum(node.op == "slice" for node in graph.nodes) == 4
    assert sum(node.op == "concat" for node in graph.nodes) == 2
    x, _ = builders.build_data(chosen).test.sequence(torch.arange(40))
    with torch.no_grad():
        expected = network(x, steps=range(3))[0].numpy()
    logits = Session(graph).run(x.numpy(), 3)
    np.testing.assert_array_equal(logits[:, :4], reference.run(graph, x[:, :4].numpy(), 3))
    # a code next to a boundary may fall on its other side
    close = np.abs(logits - expected).max(axis=(0, 2)) < 2e-4
    assert close.mean() >= 0.8
    assert (logits.mean(0).argmax(1) == expected.mean(0).argmax(1)).mean() >= 0.95
