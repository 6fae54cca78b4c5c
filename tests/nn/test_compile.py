"""`torch.compile(model)`, as a user writes it: the model's own results, and as many graphs for any number of steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from cases import every
from chunks import CASES, T, drawn, pair
from chunks import everything as chunk_results
from hdlif.recipe import builders, load_recipe
from hdlif.training.update import compiled_once
from small_networks import tensors_of

SMALL, STEPS = ["model={kind: resnet, blocks: [1], width: 2}"], 10
NETWORKS = {
    "HD-LIF, statistics per step": ["neuron={kind: hdlif}", "norm={kind: batch_norm, per_step: true, momentum: null}"],
    "LIF": ["neuron={kind: lif, granularity: channel}", "norm={kind: batch_norm, per_step: true}"],
    "Mem-BN": ["neuron={kind: hdlif, mem_bn: true}"],
    "GLIF": ["neuron={kind: glif}"],
    "adaptive": ["neuron={kind: adaptive_hdlif}"],
    "graded LIF": ["neuron={kind: graded_lif, surrogate: dspike}", "attention={kind: seca, per_step: true}"],
    "alternate, low-bit": [
        "neuron={kind: hdlif, parallel: alternate}",
        "weights={kind: ternary}",
        "spikes={kind: quantised, learned: true}",
    ],
    "cumulative statistics": ["neuron={kind: hdlif, path: fused}", "norm={kind: batch_norm, momentum: null}"],
    "reversible": ["model={kind: reversible_resnet, blocks: [2], width: 4}"],
    "spiking": ["model={kind: spiking, of: 'torch_networks:Dense'}"],
    "VGG": ["model={kind: vgg_snn, plan: [2], final_size: null}", "norm={kind: batch_norm, per_step: true}"],
}
IN_PARTS = ["reversible"]
"""Whose replay the compiler does not follow."""
QUICK = ["VGG"]

every_network = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)


@pytest.fixture(autouse=True)
def _no_graphs_of_others() -> None:
    torch._dynamo.reset()


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    overrides = [*SMALL, *NETWORKS[name], f"time_steps={STEPS}"]
    return builders.build_model(load_recipe("digits_hdlif", overrides)).double()


def everything(model: nn.Module, run: Callable[..., Any], graphs: Callable[[], int] = int) -> dict[str, Tensor]:
    """A sequence one step at a time, with its loss's gradients; then steps without gradients, beyond the last one.

    The number of graphs is asked for after the second step of each kind: no later step makes another.
    """
    x = torch.randn(1, 3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state, loss, made = None, torch.tensor(0.0), 0
    results: dict[str, Tensor] = {}
    for t in range(STEPS):
        logits, state = run(x, state, steps=range(t, t + 1))
        loss = loss + logits.square().sum()
        results[f"logits {t}"] = logits.detach()
        made = graphs() if t < 2 else made
        assert graphs() == made
    loss.backward()
    with torch.no_grad():
        for t in range(STEPS, STEPS + 4):
            results[f"logits {t}"], state = run(x, state, steps=range(t, t + 1))
            made = graphs() if t < STEPS + 2 else made
            assert graphs() == made
    results |= dict(tensors_of(state, "state "))
    results |= {f"gradient {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return results | {f"buffer {n}": b for n, b in model.named_buffers()}


def assert_equal(seen: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(seen[name], value, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@every_network
def test_compiled_model_runs_as_the_plain_one_and_takes_no_more_graphs_for_more_steps(name: str) -> None:
    plain, model, counter = network(name), network(name), CompileCounter()
    run = torch.compile(model, backend=counter)
    assert_equal(everything(model, run, lambda: counter.frame_count), everything(plain, plain))
    # The first step, the others, and without gradients the first, whose state has a graph, and the others.
    assert counter.frame_count == 4 or name in IN_PARTS


@pytest.mark.slow
@every(
    "name",
    "options",
    of=[
        *((name, {"backend": "eager"}) for name in ("LIF", "Mem-BN", "alternate, low-bit", "cumulative statistics")),
        *((name, {"backend": "eager"}) for name in ("reversible", "VGG")),
        *((name, {}) for name in ("HD-LIF, statistics per step", "alternate, low-bit")),
    ],
)
def test_compiled_model_runs_a_chunk_as_the_plain_one(name: str, options: dict[str, Any]) -> None:
    torch._dynamo.reset()
    model, x = network(name), torch.randn(1, 3, 1, 8, 8, dtype=torch.float64)
    outputs = []
    for one, call in (((plain := network(name)), plain), (model, torch.compile(model, **options))):
        logits, state = call(x, steps=range(4))
        logits.sum().backward()
        gradients = {n: p.grad for n, p in one.named_parameters() if p.grad is not None}
        outputs.append({"logits": logits.detach(), **dict(tensors_of(state)), **gradients, **dict(one.named_buffers())})
    assert_equal(outputs[1], outputs[0])


# Inductor, the backend of training.compile, writes C++ on a CPU and Triton on a GPU.
@pytest.mark.parametrize(
    ("names", "backend"),
    [
        (["hdlif"], "aot_eager"),
        pytest.param(["hdlif", "lif", "glif", "adaptive_hdlif"], "inductor", marks=pytest.mark.slow),
    ],
    ids=["some", "by inductor"],
)
def test_compiled_chunk_of_a_neuron_is_its_steps(names: list[str], backend: str) -> None:
    for name in names:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        plain, neuron = pair(CASES[name])
        x = drawn(T, 3, 5)
        start = {state: drawn(3, 5, seed=9) for state in plain.states}
        expected = chunk_results(plain, x, start=start)
        found = chunk_results(neuron, x, start=start, run=compiled_once(neuron, backend))
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
        for its, right in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
            torch.testing.assert_close(its, right, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
