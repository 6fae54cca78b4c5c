"""Networks of torchvision and timm, made spiking: they compute what they did, train, and deploy."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from cases import every
from hdlif import deploy
from hdlif.graph.artefact import InputRecord
from hdlif.learning import OTTT, STBP, StochasticStep
from hdlif.models import OwnNetwork, spiking
from hdlif.nn import HDLIF, Ternary
from hdlif.report.accounting import profile
from hdlif.runtime import Session

T, SIZE = 2, 64
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=5),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=5, dropout=0.0),
    "mobilenetv2_035": lambda: timm.create_model("mobilenetv2_035", num_classes=5),
    "densenet121": lambda: models.densenet121(num_classes=5),
    "resnet50": lambda: models.resnet50(num_classes=5),
    "resnet10t": lambda: timm.create_model("resnet10t", num_classes=5),
}
pytestmark = pytest.mark.slow


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]()


@every(name=list(NETWORKS))
def test_with_relu_for_its_neurons_it_computes_what_the_network_does(name: str) -> None:
    network, x = made(name), torch.randn(4, 3, SIZE, SIZE)
    with torch.no_grad():
        network.train()(x)
        like = {"mobilenet_v2": nn.ReLU6, "mobilenetv2_035": nn.ReLU6}.get(name, nn.ReLU)
        y, _ = spiking(network.eval(), lambda channels: like())(x[None], None, range(1))
        # The same sums in the same order.
        torch.testing.assert_close(y[0], network(x))


# Each rule with two of the networks; tests/models/test_spiking.py has all of them with small ones.
@every("name", "rule", of=zip(NETWORKS, 2 * [StochasticStep(k=1), STBP(), OTTT()], strict=True))
def test_it_trains_is_counted_and_runs_without_torch(name: str, rule: Any) -> None:
    network = OwnNetwork(spiking(made(name), lambda channels: HDLIF(T), quantizer=Ternary()))
    x, target = torch.randn(T, 4, 3, SIZE, SIZE), torch.arange(4)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    for seed in range(2):
        optimizer.zero_grad()
        for step in rule(network, x, target, rule.schedule(T, torch.Generator().manual_seed(seed))):
            step.loss.backward()
        optimizer.step()
    weights = {name: value for name, value in network.named_parameters() if value.ndim > 1}
    assert [name for name, value in weights.items() if value.grad is None or not value.grad.any()] == []
    assert all(value.isfinite().all() for value in weights.values())
    with torch.no_grad():
        network(x, None, range(T))
        expected, _ = network.eval()(x, None, range(T))
    record = InputRecord((3, SIZE, SIZE), (0.0,) * 3, (1.0,) * 3)
    graph = deploy.lower(network, input=record, labels=tuple("abcde"), time_steps=T)
    logits = torch.from_numpy(Session(graph).run(x.numpy()))
    # Sums of floats in another order, through all layers.
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    counted = profile(graph, x)
    assert {layer.name for layer in counted.layers} >= {node.name for node in graph.nodes if node.op == "conv2d"}
