"""The cost of an update, on a neuron and graphs small enough to count by hand."""

import pytest
import torch
from torch import Tensor, nn

from hdlif.nn import ParallelHDLIF, Scope, State, Temporal
from hdlif.report.accounting import update_cost, watching_saved


class One(Temporal):
    """A single neuron layer."""

    def __init__(self) -> None:
        super().__init__()
        self.act = ParallelHDLIF(4)

    def forward(self, x: Tensor, state: State | None = None, steps: range = range(1)) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        return run("act", x), run.state


def test_steps_are_counted_as_they_run_and_as_gradients_come_back() -> None:
    net, x = One(), torch.rand(3, 2, 5)

    def update() -> None:
        with torch.no_grad():
            net(x[:1], steps=range(1))
        spikes, _ = net(x[1:], steps=range(1, 3))
        spikes.sum().backward()
        net(x, steps=range(3))

    found = update_cost(net, update, batch=[x])
    assert (found.forward_steps, found.backward_steps) == (1 + 2 + 3, 2)
    with pytest.raises(ZeroDivisionError):
        update_cost(net, lambda: 1 / 0)
    assert not net.act._forward_hooks
    with pytest.raises(ValueError, match="no neuron layer"):
        update_cost(nn.Linear(2, 2), lambda: None)


def test_saved_bytes_fall_as_graphs_go_and_the_peak_stays() -> None:
    x = torch.rand(10, requires_grad=True)
    with watching_saved([]) as saved:
        first = x.exp()  # saves its own 40 bytes
        second = first.exp()  # and another 40
        assert saved.now == 80
        second.sum().backward()
        assert (saved.now, saved.peak) == (0, 80)
        third = x.exp()
        assert (saved.now, saved.peak) == (40, 80)
        del third
        assert saved.now == 0


def test_a_storage_counts_once_and_what_lies_apart_not_at_all() -> None:
    a, b = torch.rand(8, requires_grad=True), torch.rand(8, requires_grad=True)
    with watching_saved([b]) as saved:
        product = a * b + a[:4].repeat(2) * a  # a twice, and its first half repeated
        assert saved.now == 32 + 32
        product.sum().backward()
    assert saved.now == 0
