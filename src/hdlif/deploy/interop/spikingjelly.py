"""Conversion of hdlif neurons to SpikingJelly modules, and of SpikingJelly's LIF networks to hdlif networks.

The conversion requires SpikingJelly 2.0.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from hdlif.deploy.interop.turning import TurningNeurons, behind_gain, copied, learn_leak, unit_lif
from hdlif.errors import ConversionError, MissingExtraError, StateError
from hdlif.functional import ATan, DetachedReset, HardReset, Rectangle, Reset, Sigmoid, Surrogate, Triangle, soft_reset
from hdlif.models.spiking.turning import Fed, Turned
from hdlif.nn import Neuron, State, SteppedNeuron, Temporal

try:
    from spikingjelly.activation_based import base, functional, layer, neuron
except ModuleNotFoundError as _error:
    raise MissingExtraError.of(_error.name, "peers") from _error


class Node(base.MemoryModule):  # type: ignore[misc] # of a library without types
    """A SpikingJelly module for a layer of hdlif neurons, with inputs [N, ...] in step mode "s" and [T, N, ...] in "m".

    `functional.reset_net` begins a new sequence, and `functional.detach_net` detaches the state from the autograd
    graph. `functional.set_step_mode` and monitors work as for SpikingJelly's own neurons. The module's memories are the
    step count `t`, the potential `v`, and any other states under their own names. Changing the batch size without a
    reset raises an error.

    Args:
        neuron: neuron layer of `hdlif.nn`.
        step_mode: "s" or "m".
    Raises:
        StateError: the state is not a tensor per neuron, as for a recurrent layer.
    """

    def __init__(self, neuron: Neuron, step_mode: str = "s") -> None:
        super().__init__()
        if not isinstance(neuron, SteppedNeuron):
            raise StateError(
                f"{type(neuron).__name__} has a state with more than named tensors; use a neuron of hdlif.nn"
            )
        self.neuron = neuron
        self._states = {name: "v" if name == "potential" else name for name in neuron.states}
        self.register_memory("t", 0)
        for name in self._states.values():
            self.register_memory(name, 0.0)
        self.step_mode = step_mode

    def single_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **others: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        (spikes,), after = self._run(inputs[0][None], states)
        return (spikes[0],), after

    def multi_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **others: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        return self._run(inputs[0], states)

    def _run(self, x: Tensor, memories: tuple[Any, ...]) -> tuple[tuple[Tensor], tuple[Any, ...]]:
        t, *kept = memories
        begins = any(not isinstance(value, Tensor) for value in kept) or (not kept and t == 0)
        given: State | None = None if begins or not kept else dict(zip(self._states, kept, strict=True))
        start = 0 if begins else t
        spikes, after = self.neuron(x, given, range(start, start + len(x)))
        return (spikes,), (start + len(x), *(after[name] for name in self._states))


def nodes(make: Callable[[], Neuron], step_mode: str = "s") -> Callable[..., Node]:
    """Return a neuron factory for SpikingJelly's models, as in `spiking_resnet18(spiking_neuron=nodes(make))`.

    The factory ignores arguments that only SpikingJelly's own neurons use, such as `surrogate_function`.

    Args:
        make: makes a layer of our neurons.
        step_mode: "s" or "m", used if SpikingJelly's model passes none.
    """

    def made(*_: Any, **others: Any) -> Node:
        return Node(make(), others.get("step_mode", step_mode))

    return made


def from_spikingjelly(
    network: nn.Module,
    time_steps: int,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    surrogate: Surrogate | None = None,
) -> Temporal:
    """Convert a network of SpikingJelly layers and neurons to hdlif, with the same weights and equal outputs.

    The leak 1 - 1/τ = σ(-w) of a `ParametricLIFNode` remains learnable. With `decay_input=True`, the factor 1/τ of the
    current is not learned.

    hdlif traces the forward pass of one step and rejects loops over time. `LIFNode` and `IFNode` are supported with any
    τ, `decay_input`, threshold and reset, and emit spikes of 1. A `Node` becomes its hdlif neuron. In eval mode, the
    converted network and the original compute equal outputs. In train mode, hdlif batch norms keep statistics per step,
    and dropout draws a new mask at each step.

    Args:
        network: the network in either step mode, which is not modified.
        time_steps: T.
        state_dict: the network's weights, if they are not loaded yet.
        surrogate: replacement for the neurons' own surrogates, required if hdlif has no counterpart.
    Returns:
        a network from [K, B, ...] to [K, B, ...], called with steps=range(K).
    Raises:
        ConversionError: parts have no counterpart; the message lists each.
    """
    network = copied(network, state_dict)
    functional.reset_net(network)
    try:
        functional.set_step_mode(network, "s")
    except ValueError as error:
        raise ConversionError(
            f"{type(network).__name__} of SpikingJelly: a part does not run step by step ({error}), and has no "
            "counterpart; use batch norms over a batch, and parts that run single steps"
        ) from error
    accepted = "LIFNode, IFNode, ParametricLIFNode, and Node with a neuron of hdlif are accepted"
    turning = TurningNeurons(
        time_steps,
        surrogate,
        "SpikingJelly",
        accepted,
        "",
        lambda one: isinstance(one, base.MemoryModule),
        _NEURONS,
        _PLAIN,
    )
    return turning.network(network)


def _surrogate(turning: TurningNeurons, node: Any) -> Surrogate | str:
    """Return the hdlif counterpart of a node's surrogate, or the reason why there is none."""
    theirs = node.surrogate_function
    kind = type(theirs).__name__
    if not getattr(theirs, "spiking", True):
        return f"has {kind}(spiking=False), so it emits this function instead of spikes; set spiking=True"
    if turning.surrogate is not None:
        return turning.surrogate
    if kind not in _SURROGATES:
        return f"has the surrogate {kind}, which has no counterpart; use {', '.join(_SURROGATES)}, or pass surrogate="
    return _SURROGATES[kind](float(theirs.alpha))


def _node(
    leak: float,
    gain: float,
    turning: TurningNeurons,
    node: Any,
    path: str,
    fed: Fed,
    *,
    logit: Tensor | None = None,
) -> Turned:
    """Return a neuron whose potential is relative to the reset potential, which is both the initial and the resting
    potential.

    Args:
        logit: a, if the leak σ(a) is learned.
    """
    surrogate = _surrogate(turning, node)
    if isinstance(surrogate, str):
        return turning.refuse(path, surrogate)
    rest = 0.0 if node.v_reset is None else node.v_reset
    reset: Reset = soft_reset if node.v_reset is None else HardReset()
    if node.detach_reset:
        reset = DetachedReset(reset)
    made = unit_lif(turning.time_steps, leak, node.v_threshold - rest, reset=reset, surrogate=surrogate)
    if logit is not None:
        learn_leak(made, logit)
    return Turned(behind_gain(made, gain), fed)


def _lif(turning: TurningNeurons, node: Any, path: str, fed: Fed) -> Turned:
    return _node(1 - 1 / node.tau, 1 / node.tau if node.decay_input else 1.0, turning, node, path, fed)


def _parametric(turning: TurningNeurons, node: Any, path: str, fed: Fed) -> Turned:
    # 1/τ = σ(w), so λ = 1 - 1/τ = σ(-w).
    part = float(node.w.detach().double().sigmoid())
    return _node(1 - part, part if node.decay_input else 1.0, turning, node, path, fed, logit=-node.w)


def _own(turning: TurningNeurons, node: Node, path: str, fed: Fed) -> Turned:
    return Turned(node.neuron, fed)


_NEURONS: Mapping[type[nn.Module], Callable[..., Turned]] = {
    Node: _own,
    neuron.IFNode: functools.partial(_node, 1.0, 1.0),
    neuron.LIFNode: _lif,
    neuron.ParametricLIFNode: _parametric,
}
_SURROGATES: Mapping[str, Callable[[float], Surrogate]] = {
    "ATan": ATan,
    "PiecewiseQuadratic": lambda alpha: Triangle(1 / alpha),
    "Rect": lambda alpha: Rectangle(1 / alpha),
    "Sigmoid": Sigmoid,
}
_NAMES = (
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "Flatten",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
)
_PLAIN = cast(
    Mapping[type[nn.Module], type[nn.Module]],
    {
        **{getattr(layer, name): getattr(nn, name) for name in _NAMES},
        layer.Dropout: nn.Dropout,
        layer.SeqToANNContainer: nn.Sequential,
    },
)
"""Layers that differ from torch's layers only in their handling of time, with these torch layers."""
