"""Presynaptic traces: which synapses learn from a leaky sum of their past inputs, and how it decays.

A rule that cuts the temporal gradient of the membrane can put back what the membrane remembers of past inputs: with
a_t = λ·a_{t-1} + x_t and d_t = dL/dm_t, the gradient of a weight becomes Σ_t d_t ⊗ a_t in place of Σ_t d_t ⊗ x_t
(OTTT, Xiao et al., NeurIPS 2022). Values and the gradient of the input stay as they are. The trace is part of the
synapse's state, {"trace": a [B, ...]}.

A dynamic trace has a factor of its own for each presynaptic neuron and step in place of λ, which follows how that
neuron's potential moves: with u̇_t = I_t - (1 - λ)·v_t, a_t = r_t·a_{t-1} + s_t, r_t = clip(u̇_t/u̇_{t-1}, -1, 1), and
r_t = λ where u̇_{t-1} is about 0. Only a synapse that directly follows a neuron with a potential has it.

How such a synapse runs: `hdlif.nn.traced_pass`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.nn.synapses import QuantLayer


@dataclass(frozen=True)
class TraceRule:
    """How a trace decays: by `leak`, or as its neuron moves where that is known and `dynamic` is set."""

    leak: float
    dynamic: bool = False


Synapse = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
"""What can learn from a trace: convolutions and linear layers, quantised or not."""


_FORWARDS = {kind.forward: kind for kind in (*get_args(Synapse), *get_args(QuantLayer))}
"""The forward passes that are known here: W·x + b, so that a sum of inputs may stand for x in dL/dW."""


class Traces:
    """The synapses that learn from a trace in a forward pass, which is given this along with its steps (`carrying`).

    Args:
        synapses: by their names in the network.
    Attributes:
        names: of the synapses.
    Raises:
        TrainingError: one of them is of a class with a forward pass of its own.
    """

    def __init__(self, synapses: Mapping[str, nn.Module], rule: TraceRule) -> None:
        for name, synapse in synapses.items():
            if not _known(synapse):
                raise TrainingError(
                    f"{name} feeds a membrane and cannot learn from a trace: {type(synapse).__name__} has a forward "
                    "pass of its own, whose weight gradient from a trace is not known; use Conv1d, Conv2d, Conv3d, "
                    "Linear, QuantConv1d, QuantConv2d or QuantLinear there, or a rule without traces (sltt)"
                )
        self.rule = rule
        self.names = {synapse: name for name, synapse in synapses.items()}
        self._all = tuple(synapses)

    def check_kept(self, state: Mapping[str, Any] | None) -> None:
        """Raise `TrainingError` unless every synapse has left a trace in the state after a forward pass."""
        kept = set(_traced(state or {}, ""))
        for name in self._all:
            # A module of the user's around the network may keep its state under a name.
            if name not in kept and not any(path.endswith(f".{name}") for path in kept):
                raise TrainingError(
                    f"{name} feeds a membrane and is to learn from a trace, and none was kept: it was called directly, "
                    "or did not run; run it in hdlif.nn.Sequential, or by its name with hdlif.nn.Scope, and return "
                    "that one's state, or use a rule without traces (sltt)"
                )


def _traced(state: Mapping[str, Any], at: str) -> Iterator[str]:
    """The paths of the synapses that have a trace in a state."""
    for name, value in state.items():
        if name == "trace" and isinstance(value, Tensor):
            yield at
        elif isinstance(value, Mapping):
            yield from _traced(value, f"{at}.{name}" if at else name)


def _known(synapse: nn.Module) -> bool:
    kind = _FORWARDS.get(type(synapse).forward)
    # A convolution's forward pass is in two methods.
    conv = "_conv_forward"
    return (
        kind is not None
        and getattr(type(synapse), conv, None) is getattr(kind, conv, None)
        and not ({"forward", conv} & vars(synapse).keys())
    )
