"""Conversion of hdlif neurons to snnTorch modules, and of snnTorch networks to hdlif networks.

The conversion requires snnTorch 1.0 or later.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hdlif.deploy.interop.turning import TurningNeurons, above, copied, fill, learn_leak, unit_lif
from hdlif.errors import MissingExtraError, StateError
from hdlif.functional import ATan, DetachedReset, HardReset, Sigmoid, Surrogate
from hdlif.models.spiking.turning import Fed, Turned
from hdlif.nn import (
    LateResetLIF,
    LeakyIntegrator,
    Neuron,
    Recurrent,
    Sequential,
    State,
    SteppedNeuron,
    Temporal,
    UnitLIF,
    detach,
)
from hdlif.nn.state import inside

try:
    import snntorch
except ModuleNotFoundError as _error:
    raise MissingExtraError.of(_error.name, "peers") from _error


@dataclass(frozen=True)
class FastSigmoid:
    """snnTorch's surrogate derivative f(x) = 1/(slope·|x| + 1)², whose integral is 2/slope.

    Attributes:
        slope: above 0, as in `snntorch.surrogate.fast_sigmoid`.
    """

    slope: float = 25.0

    def __call__(self, x: Tensor) -> Tensor:
        return 1 / (self.slope * x.abs() + 1) ** 2


class _Carried(NamedTuple):
    """The information that a `mem` carries in addition to the potential.

    Attributes:
        states: the neuron's other states.
        t: the next step.
        has_graph: whether the potential was returned with a graph.
    """

    states: State
    t: int
    has_graph: bool


class Node(snntorch.Leaky):  # type: ignore[misc]
    """An snnTorch module for a layer of hdlif neurons. Each call `spk, mem = node(cur, mem)` runs one step.

    The output `mem` is the potential after the step and also carries the step number and all other states. Pass the
    returned `mem` to the next call, as with snnTorch's own neurons. To start a sequence, pass None or the result of
    `init_leaky()` as `mem`. To cut the gradient between two steps, pass `mem.detach()`, which also detaches all other
    states; this requires that `mem` is the result of the latest call.

    `Node` is derived from `snntorch.Leaky`, so `snntorch.utils.reset` and `snntorch.Leaky.detach_hidden` also apply to
    a `Node` with `init_hidden=True`.

    Args:
        neuron: neuron layer of `hdlif.nn`.
        init_hidden: keep `mem` in the module, and return only spikes; `reset_mem()` begins a new sequence.
        output: return `mem` too if the module keeps it.
    Raises:
        StateError: the neuron's state is not a tensor per neuron, or another module returned `mem`.
    """

    def __init__(self, neuron: Neuron, *, init_hidden: bool = False, output: bool = False) -> None:
        # Leaky's own parameters, such as beta, would have no effect here.
        nn.Module.__init__(self)
        if not isinstance(neuron, SteppedNeuron):
            raise StateError(
                f"{type(neuron).__name__} has a state with more than named tensors; use a neuron of hdlif.nn"
            )
        self.neuron, self.init_hidden, self.output = neuron, init_hidden, output
        self.mem = torch.zeros(0)
        self._latest: tuple[Tensor, _Carried] | None = None
        # snnTorch resets and detaches the neurons in this list.
        snntorch.SpikingNeuron.instances.append(self)

    def init_leaky(self) -> Tensor:
        """Return the initial state for a new sequence."""
        return torch.zeros(0)

    def reset_mem(self) -> Tensor:
        """Begin a new sequence."""
        self.mem = self.init_leaky()
        return self.mem

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> Any:
        if self.init_hidden:
            if mem is not None:
                raise TypeError("`mem` should not be passed as an argument while `init_hidden=True`")
            mem = self.mem
        state, t = self._state_of(mem)
        spikes, after = self.neuron(input_[None], state, range(t, t + 1))
        found = self._mem_of(after, spikes[0], t + 1)
        if self.init_hidden:
            self.mem = found
        return (spikes[0], found) if self.output or not self.init_hidden else spikes[0]

    def _state_of(self, mem: Tensor | None) -> tuple[State | None, int]:
        if mem is None or mem.numel() == 0:
            return None, 0
        carried = self._carried_by(mem)
        if carried is not None:
            states = detach(carried.states) if carried.has_graph and not mem.requires_grad else carried.states
            # Keep the tensor itself, so that later changes to it take effect.
            return {**(states or {}), **({self.neuron.states[0]: mem} if self.neuron.states else {})} or None, carried.t
        if mem.ndim == 0 or not bool(mem.any()):
            return None, 0
        if len(self.neuron.states) == 1 and all(len(row) == 1 for row in self.neuron.row_values().values()):
            return {self.neuron.states[0]: mem}, 0
        raise StateError(
            f"mem is a tensor {list(mem.shape)} that {type(self.neuron).__name__} did not return, so its step and "
            "other states are unknown; pass the mem that the previous call returned, its detach(), or None to begin"
        )

    def _mem_of(self, after: State | None, spikes: Tensor, t: int) -> Tensor:
        states = {} if after is None else dict(after)
        first = states.get(self.neuron.states[0]) if self.neuron.states else None
        mem = first if isinstance(first, Tensor) else torch.zeros_like(spikes)
        # Omit the tensor itself (`_state_of` inserts it): a cyclic reference would keep its graph.
        if self.neuron.states:
            del states[self.neuron.states[0]]
        mem._hdlif = _Carried(states, t, mem.requires_grad)  # type: ignore[attr-defined]
        if not self.init_hidden:
            self._latest = mem.detach(), _Carried(detach(states) or {}, t, has_graph=False)
        return mem

    def _carried_by(self, mem: Tensor) -> _Carried | None:
        """Return the step and the other states of a `mem`, or of the detached `mem` of the latest call."""
        carried: _Carried | None = getattr(mem, "_hdlif", None)
        # detach() returns a tensor without this attribute, but with the same memory.
        if carried is None and self._latest is not None and mem.grad_fn is None:
            latest, of_latest = self._latest
            if (mem.dtype, mem.device) == (latest.dtype, latest.device) and mem.is_set_to(latest):
                return of_latest
        return carried


def from_snntorch(
    network: nn.Module,
    time_steps: int,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    surrogate: Surrogate | None = None,
) -> Temporal:
    """Convert a network of torch layers and snnTorch neurons to hdlif, with the same weights and equal outputs.

    hdlif traces one step of an `nn.Sequential`, or of a forward pass whose only argument is `x`. In this forward pass,
    neurons return only spikes, as with `init_hidden=True`. If yours passes `mem` from step to step, write such a
    forward pass, and load the trained weights with `state_dict`.

    A `Node` becomes its neuron. `Leaky` fires strictly above its threshold, so the threshold of the converted neuron is
    the next larger float32. A `Leaky` with reset by subtraction and the default `reset_delay=True` becomes a
    `LateResetLIF`. A `Leaky` that resets to zero becomes a neuron with an immediate reset, which produces the same
    spikes. A learned `beta` becomes a learned leak λ = σ(a), with one additional rounding. With reset by subtraction, a
    `Synaptic` becomes a `LeakyIntegrator` and a neuron, and an `RLeaky` becomes a `Recurrent`.

    Args:
        network: the network, which is not modified.
        time_steps: T.
        state_dict: the network's weights, if they are not loaded yet.
        surrogate: replacement for the neurons' own surrogates, required if hdlif has no counterpart.
    Returns:
        a network from [K, B, ...] to [K, B, ...], called with steps=range(K).
    Raises:
        ConversionError: parts have no counterpart; the message lists each.
    """
    network = copied(network, state_dict)
    turning = TurningNeurons(
        time_steps,
        surrogate,
        "snnTorch",
        "Leaky, RLeaky, Synaptic and Node are accepted",
        ", with neurons made with init_hidden=True",
        lambda one: isinstance(one, snntorch.SpikingNeuron),
        {Node: _own, snntorch.Leaky: _leaky, snntorch.RLeaky: _recurrent, snntorch.Synaptic: _synaptic},
        {},
    )
    return turning.network(network)


def _own(turning: TurningNeurons, node: Any, path: str, fed: Fed) -> Turned:
    return Turned(node.neuron, fed)


def _leaky(turning: TurningNeurons, node: Any, path: str, fed: Fed) -> Turned:
    surrogate = turning.surrogate or _surrogate(node.spike_grad)
    if surrogate is None:
        return turning.refuse(
            path,
            f"has the surrogate {getattr(node.spike_grad, '__qualname__', node.spike_grad)}, which has no "
            "counterpart; use atan, fast_sigmoid or sigmoid, or pass surrogate=",
        )
    if why := _refused(node):
        return turning.refuse(path, why)
    beta, threshold = (value.detach().float().reshape(-1) for value in (node.beta.clamp(0, 1), node.threshold))
    made: UnitLIF
    if node.reset_mechanism == "zero":
        reset = DetachedReset(HardReset()) if node.reset_delay else HardReset()
        made = unit_lif(turning.time_steps, beta, above(threshold), reset=reset, surrogate=surrogate)
    else:
        channels = max(len(beta), len(threshold))
        made = LateResetLIF(
            turning.time_steps, channels=None if channels == 1 else channels, per_step=False, surrogate=surrogate
        )
        fill(made, leak=beta, threshold=torch.from_numpy(above(threshold)), size=threshold)
    if isinstance(node.beta, nn.Parameter):
        learn_leak(made, beta.double().logit())
    return Turned(made, fed)


def _recurrent(turning: TurningNeurons, node: Any, path: str, fed: Fed) -> Turned:
    if not node.all_to_all:
        return turning.refuse(path, "has all_to_all=False, one weight per neuron; use a linear layer or a convolution")
    if node.reset_mechanism == "zero":
        return turning.refuse(path, f'{_ZERO} input; set reset_mechanism="subtract"')
    made = _leaky(turning, node, path, fed).module
    synapse = turning.turn(node.recurrent, inside(path, "recurrent"), fed).module
    return Turned(Recurrent(made, synapse) if isinstance(made, Temporal) else made, fed)


def _synaptic(turning: TurningNeurons, node: Any, path: str, fed: Fed) -> Turned:
    if node.reset_mechanism == "zero":
        return turning.refuse(path, f'{_ZERO} current; set reset_mechanism="subtract"')
    if isinstance(node.alpha, nn.Parameter):
        return turning.refuse(path, "learns alpha, which is fixed in the counterpart; set learn_alpha=False")
    alpha = node.alpha.float().clamp(0, 1).reshape(-1)
    current = LeakyIntegrator(
        turning.time_steps, channels=None if len(alpha) == 1 else len(alpha), per_step=False, learned=False
    )
    fill(current, leak=alpha)
    return Turned(Sequential(current, _leaky(turning, node, path, fed).module), fed)


_ZERO = 'has reset_mechanism="zero", which at the next step also clears the'


def _refused(node: Any) -> str | None:
    """Return a description of a neuron's unsupported property, or None if hdlif supports the neuron."""
    if node.reset_mechanism == "none":
        return 'has reset_mechanism="none"; set "zero" or "subtract"'
    if node.reset_mechanism == "subtract" and not node.reset_delay:
        return (
            'has reset_mechanism="subtract" with reset_delay=False, which subtracts twice from a membrane above twice '
            'the threshold; set reset_delay=True, or reset_mechanism="zero"'
        )
    if node.inhibition or node.state_quant:
        return "has inhibition or state_quant, which hdlif does not support"
    if isinstance(node.threshold, nn.Parameter) or isinstance(node.graded_spikes_factor, nn.Parameter):
        return (
            "learns its threshold or graded_spikes_factor, which are fixed in the counterpart; set "
            "learn_threshold=False and learn_graded_spikes_factor=False"
        )
    if isinstance(node.beta, nn.Parameter) and not ((node.beta > 0) & (node.beta < 1)).all():
        return "learns a beta outside 0..1, which the counterpart does not support; set learn_beta=False"
    if node.state_function.__name__ != _STATE_FUNCTIONS[node.reset_mechanism]:
        return f'has reset_mechanism="{node.reset_mechanism}", but was made with another, which it still uses'
    if (node.graded_spikes_factor != 1).any():
        return f"has graded_spikes_factor = {node.graded_spikes_factor.tolist()}, but only 1 is supported"
    if not (node.threshold > 0).all():
        return "has a threshold that is not above 0"
    return None


_STATE_FUNCTIONS = {"subtract": "_base_sub", "zero": "_base_zero"}
"""Names of snnTorch's functions for each reset mechanism."""


def _surrogate(theirs: Callable[..., Any]) -> Surrogate | None:
    """Convert a surrogate from `snntorch.surrogate` to hdlif, or return None for any other function."""
    name = getattr(theirs, "__qualname__", "").partition(".")[0]
    if getattr(theirs, "__module__", "") != "snntorch.surrogate" or name not in _SURROGATES:
        return None
    make, argument = _SURROGATES[name]
    held = inspect.getclosurevars(theirs).nonlocals
    return make(float(held[argument]))


_SURROGATES: Mapping[str, tuple[Callable[[float], Surrogate], str]] = {
    "atan": (ATan, "alpha"),
    "fast_sigmoid": (FastSigmoid, "slope"),
    "sigmoid": (Sigmoid, "slope"),
}
