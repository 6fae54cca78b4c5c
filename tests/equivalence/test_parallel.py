"""Parallel HD-LIF is HD-LIF without leak, alone and inside a network."""

import torch

from hdlif.models import Network, Place
from hdlif.nn import HDLIF, ParallelHDLIF, StepValue, Temporal, Ternary
from small_networks import assert_close, gradients, tiny_resnet

STEPS = 3


def without_leak(place: Place | None = None) -> HDLIF:
    """HD-LIF with learned θ and a leak fixed at 0."""
    neuron = HDLIF(STEPS)
    neuron.leak = StepValue(STEPS, value=0.0, learned=False)
    return neuron


def parallel(place: Place | None = None) -> ParallelHDLIF:
    return ParallelHDLIF(STEPS)


def scattered(module: Temporal) -> Temporal:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("threshold.logit"):
                parameter.copy_(torch.tensor([-0.5, 0.0, 0.75]))
    return module.double()


def test_parallel_neuron_equals_hd_lif_without_leak_in_value_and_gradient() -> None:
    x = torch.randn(STEPS, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for make in (without_leak, parallel):
        neuron, current = scattered(make()), x.clone().requires_grad_()
        spikes, _ = neuron(current, None, range(STEPS))
        spikes.square().sum().backward()
        found.append({"spikes": spikes.detach(), "current": current.grad, **gradients(neuron)})
    assert_close(found[1], found[0])


def test_parallel_network_equals_the_one_without_leak() -> None:
    x = torch.randn(STEPS, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def run(network: Network) -> dict[str, torch.Tensor]:
        scattered(network)
        logits, _ = network(x)
        (logits * torch.arange(3)).sum().backward()
        return {"logits": logits.detach(), **gradients(network)}

    vanilla, memoryless = (run(tiny_resnet(make, quantizer=Ternary())) for make in (without_leak, parallel))
    assert_close(memoryless, vanilla)
