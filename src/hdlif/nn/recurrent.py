"""Recurrent layers, whose neurons also receive the layer's spikes from the previous step through a synapse."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from hdlif.errors import ShapeError, StateError
from hdlif.nn.scope import Scope
from hdlif.nn.state import State, Temporal, check_chunk, check_entry, detach, entries_of, stack_steps
from hdlif.nn.steps import carried


class Recurrent(Temporal):
    """A recurrent layer of neurons with currents I_t = x_t + U s_{t-1}, where U s = 0 at the first step.

    U is an ordinary synapse: you can quantise U, and OTTT and NDOT keep traces for U. The number of operations in U
    depends on the density of s. In the deployed graph, the operation `delay` provides s_{t-1}. The steps of a chunk run
    one after another. If a learning rule cuts the temporal gradient, it treats s_{t-1} as a constant input of U.

    >>> import torch
    >>> from hdlif.nn import HDLIF, QuantLinear, Recurrent
    >>> layer = Recurrent(HDLIF(time_steps=4), QuantLinear(3, 3, bias=False))
    >>> spikes, state = layer(torch.rand(4, 2, 3), None, range(4))
    >>> list(spikes.shape), sorted(state), torch.equal(state["spike"], spikes[-1])
    ([4, 2, 3], ['neuron', 'spike'], True)

    Args:
        neuron: a neuron layer.
        synapse: U, from spikes [B, C, ...] to currents of the same shape, such as a `QuantConv2d` with padding, or a
            `QuantLinear`.
    State: {"neuron": the neuron's state, "spike": s_{t-1} [B, ...]}, and {"synapse": ...} for a U trained with a trace.
    Raises:
        ShapeError: U returns currents of another shape.
    """

    paths: ClassVar[Sequence[Sequence[str]]] = (("synapse", "neuron"), ("neuron",))

    def __init__(self, neuron: Temporal, synapse: nn.Module) -> None:
        super().__init__()
        self.neuron, self.synapse = neuron, synapse

    def cuts(self) -> bool:
        return True

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        check_chunk(x, steps)
        given = dict(entries_of(state, "Recurrent"))
        spike = given.pop("spike", None)
        if state is not None and not isinstance(spike, Tensor):
            raise StateError(
                "state of a recurrent layer lacks 'spike', a tensor; give the whole state, or None to start"
            )
        if spike is None:
            spike = torch.zeros(x.shape[1:], dtype=x.dtype, device=x.device)
        assert isinstance(spike, Tensor)
        check_entry("spike", spike, x)
        of_children: State | None = None if state is None else given
        emitted, observers = [], carried(steps).observers
        for k in range(len(steps)):
            if carried(steps).cut:
                spike, of_children = spike.detach(), detach(of_children)
            run = Scope(self, of_children, steps[k : k + 1])
            back = run("synapse", spike[None].to(x.dtype))
            if back.shape[1:] != x.shape[1:]:
                raise ShapeError(
                    f"the recurrent synapse returns {list(back.shape[1:])}, but the current is {list(x.shape[1:])}; "
                    "it must keep the shape, like a convolution with an odd kernel and half of it as padding"
                )
            current = x[k : k + 1] + back if len(x) > 1 else x + back
            for observer in observers:
                observer.joined(current, [x, back], self.neuron, self.synapse)
            y = run("neuron", current)
            spike, of_children = y[0], run.state
            emitted.append(spike)
        return stack_steps(emitted), {**(of_children or {}), "spike": spike}
