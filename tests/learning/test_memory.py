"""Training memory: what a rule saves for its backward passes as the number of time steps grows."""

import pytest
import torch
from torch import Tensor, nn

from hdlif.accounting import saved_bytes
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep
from hdlif.nn import HDLIF, LIF, Scope, Sequential, State, Temporal

BATCH, WIDTH = 8, 32


class MLP(Temporal):
    """Three layers of neurons of equal width, and a readout."""

    def __init__(self, neuron: type[Temporal], time_steps: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Linear(WIDTH, WIDTH), neuron(time_steps)]
        self.body = Sequential(*layers, nn.Linear(WIDTH, 4))

    def forward(self, x: Tensor, state: State | None = None, steps: range = range(1)) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        return run("body", x), run.state


def peak_bytes(rule: Rule, neuron: type[Temporal], time_steps: int) -> int:
    """Most bytes saved at once: the graph of one loss, since it is freed before the next is asked for."""
    torch.manual_seed(0)
    net = MLP(neuron, time_steps)
    x = torch.rand(time_steps, BATCH, WIDTH)
    target = torch.zeros(BATCH, dtype=torch.int64)
    # A view of x would be counted with the whole of x, which lies there anyway: each step is a storage of its own.
    first = net.body[0]
    first.register_forward_pre_hook(lambda module, args: (args[0].clone(),))
    plan = rule.schedule(time_steps, torch.Generator().manual_seed(0))
    losses = iter(rule(net, x, target, plan))
    peak = 0
    for _ in plan.updates:
        step = []
        peak = max(peak, saved_bytes(lambda step=step: step.append(next(losses)), model=net))
        step[0].loss.backward()
    return peak


@pytest.mark.parametrize("neuron", [HDLIF, LIF], ids=["hdlif", "lif"])
def test_stbp_saves_bytes_linear_in_the_time_steps(neuron: type[Temporal]) -> None:
    one, two, four, eight = (peak_bytes(STBP(), neuron, steps) for steps in (1, 2, 4, 8))
    per_step = (eight - four) / 4
    assert eight > 7 * one
    # each step adds the same, but for a few scalars of leak and threshold and the first step's zero potential
    assert (four - two) / 2 == pytest.approx(per_step, rel=0.02)


@pytest.mark.parametrize("neuron", [HDLIF, LIF], ids=["hdlif", "lif"])
@pytest.mark.parametrize("rule", [SLTT(), SLTT("each"), OTTT(), NDOT(), StochasticStep(), StochasticStep(2)])
def test_online_rules_save_the_bytes_of_one_step_whatever_the_time_steps(rule: Rule, neuron: type[Temporal]) -> None:
    two, four, eight = (peak_bytes(rule, neuron, steps) for steps in (2, 4, 8))
    # 3 layers × (leak and threshold) logits of one float32 per step
    scalars = 3 * 2 * 4
    assert 0 <= eight - four <= 4 * scalars
    assert 0 <= four - two <= 2 * scalars


def neuron_bytes(path: str, *, learned: bool, time_steps: int = 8) -> int:
    """Bytes that STBP saves in one HD-LIF layer, whose input is a leaf of its own."""
    neuron = HDLIF(time_steps, learned=learned, path=path)  # type: ignore[arg-type]
    x = torch.rand(time_steps, BATCH, WIDTH, requires_grad=True)
    return saved_bytes(lambda: neuron(x, None, range(time_steps))[0], model=neuron)


@pytest.mark.parametrize("path", ["bits", "scan"])
@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fixed"])
def test_neuron_saves_a_bit_a_step_and_the_potential_where_the_leak_is_learned(path: str, learned: bool) -> None:
    time_steps, neurons = 8, BATCH * WIDTH
    bits = time_steps * neurons // 8
    potentials = 4 * time_steps * neurons if learned else 0
    # Beside them leak and threshold of each step; the scan keeps the last potential too, in one tensor with the others.
    more = 3 * 4 * time_steps + (4 * neurons if path == "scan" and learned else 0)
    assert bits + potentials <= neuron_bytes(path, learned=learned) <= bits + potentials + more
    assert neuron_bytes("steps", learned=learned) > 8 * time_steps * neurons * (0.9 if learned else 0.45)


def test_the_random_step_saves_as_much_as_sltt_at_its_peak() -> None:
    assert peak_bytes(StochasticStep(), HDLIF, 4) == peak_bytes(SLTT(), HDLIF, 4)
