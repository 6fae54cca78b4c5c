"""`torch.compile(model)`, as a user writes it: the model's own results, and as many graphs for any number of steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from chunks import CASES, T, drawn, pair
from chunks import everything as chunk_results
from hdlif.recipe import builders, load_recipe
from hdlif.training.update import compiled_once
from small_networks import tensors_of

SMALL, STEPS = ["model={kind: resnet, blocks: [1], width: 2}"], 6
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
    "Q-K attention": ["model={kind: qk_former, blocks: [1, 1], width: 4, heads: 2}"],
    "reversible": ["model={kind: reversible_resnet, blocks: [1], width: 4}"],
    "spiking": ["model={kind: spiking, of: 'torch_networks:Dense'}"],
    "VGG": ["model={kind: vgg_snn, plan: [2], final_size: null}", "norm={kind: batch_norm, per_step: true}"],
}
IN_PARTS = ["reversible"]
"""Whose replay the compiler does not follow, which takes it ten times as long: they run in chunks alone."""


@pytest.fixture(autouse=True)
def _no_graphs_of_others() -> None:
    torch._dynamo.reset()


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    overrides = [*SMALL, *NETWORKS[name], f"time_steps={STEPS}"]
    return builders.build_model(load_recipe("digits_hdlif", overrides)).double()


def everything(
    model: nn.Module, run: Callable[..., Any], chunk: int, graphs: Callable[[], int] = int
) -> dict[str, Tensor]:
    """A sequence in chunks, with its loss's gradients; then steps without gradients, beyond the last one.

    The number of graphs is asked for after the second chunk of each kind: no later one makes another.
    """
    x = torch.randn(1, 3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state, loss, made = None, torch.tensor(0.0), 0
    results: dict[str, Tensor] = {}
    for begin in (0, STEPS):
        with torch.set_grad_enabled(begin == 0):
            for t in range(begin, begin + STEPS, chunk):
                logits, state = run(x, state, steps=range(t, t + chunk))
                loss = loss + logits.square().sum()
                results[f"logits {t}"] = logits.detach()
                made = graphs() if t <= begin + chunk else made
                assert graphs() == made
        if begin == 0:
            loss.backward()
    results |= dict(tensors_of(state, "state "))
    results |= {f"gradient {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return results | {f"buffer {n}": b for n, b in model.named_buffers()}


# Inductor, the backend of training.compile, writes C++ on a CPU and Triton on a GPU.
IN_CHUNKS = [("cumulative statistics", "eager"), ("reversible", "eager"), ("alternate, low-bit", "inductor")]


@pytest.mark.parametrize(
    ("name", "chunk", "backend"),
    [
        ("VGG", 2, "eager"),
        *(pytest.param(name, 1, "eager", marks=pytest.mark.slow) for name in NETWORKS if name not in IN_PARTS),
        *(pytest.param(name, STEPS // 3, backend, marks=pytest.mark.slow) for name, backend in IN_CHUNKS),
    ],
)
def test_compiled_model_runs_as_the_plain_one_and_takes_no_more_graphs_for_more_steps(
    name: str, chunk: int, backend: str
) -> None:
    plain, model, counter = network(name), network(name), CompileCounterWithBackend(backend)
    found = everything(model, torch.compile(model, backend=counter), chunk, lambda: counter.frame_count)
    expected = everything(plain, plain, chunk)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")
    # The first chunk, the others, and without gradients the first, whose state has a graph, and the others.
    assert counter.frame_count == 4 or name in IN_PARTS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hdlif", "lif", "glif", "adaptive_hdlif"])
def test_compiled_chunk_of_a_neuron_is_its_steps(name: str) -> None:
    torch._dynamo.utils.counters.clear()
    plain, neuron = pair(CASES[name])
    x = drawn(T, 3, 5)
    start = {state: drawn(3, 5, seed=9) for state in plain.states}
    expected = chunk_results(plain, x, start=start)
    found = chunk_results(neuron, x, start=start, run=compiled_once(neuron, "inductor"))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for its, right in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(its, right, rtol=1e-9, atol=1e-9)
