"""Presynaptic traces, which provide weight gradients from a leaky sum of past inputs.

With a trace, a rule that cuts the temporal gradient can restore the membrane's dependence on past inputs. With a_t =
λ·a_{t-1} + x_t and d_t = dL/dm_t, the gradient of a weight becomes Σ_t d_t ⊗ a_t instead of Σ_t d_t ⊗ x_t (OTTT, Xiao
et al., NeurIPS 2022). Traces do not change outputs or input gradients. The trace is part of the synapse's state,
{"trace": a [B, ...]}.

In a dynamic trace, the ratio of the presynaptic neuron's successive potential changes replaces λ at each step. The
trace is a_t = r_t·a_{t-1} + s_t, where r_t = clip(u̇_t/u̇_{t-1}, -1, 1) and u̇_t = I_t - (1 - λ)·v_t. If u̇_{t-1} is
about 0, then r_t = λ. A synapse has a dynamic trace only if it directly follows a neuron with a potential.

`hdlif.learning.traced_pass` runs synapses with traces.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.learning.paths import stated_ways
from hdlif.learning.traced_pass import Synapse, TraceRule, drift, run_traced
from hdlif.nn import Neuron, Scope
from hdlif.nn.state import State, check_chunk
from hdlif.nn.steps import Observer
from hdlif.nn.synapses import QuantLayer

_FORWARDS = {kind.forward: kind for kind in (*get_args(Synapse), *get_args(QuantLayer))}
"""Supported forward passes, all W·x + b, so a sum of inputs can replace x in dL/dW."""


@dataclass(frozen=True)
class _Fired:
    """The output and current of a neuron layer in this chunk, and the state after the chunk."""

    name: str
    y: Tensor
    current: Tensor
    state: State | None


@dataclass
class _Seen:
    """The outputs of the children of one scope."""

    fired: list[_Fired] = field(default_factory=list)
    gave: list[tuple[str, ReferenceType[Tensor]]] = field(default_factory=list)


class Traces(Observer):
    """An observer that runs the given synapses with traces in a forward pass.

    Args:
        synapses: the synapses, by their names in the network.
    Attributes:
        names: names of the synapses.
    Raises:
        TrainingError: the class of a synapse overrides its forward pass.
    """

    def __init__(self, synapses: Mapping[str, nn.Module], rule: TraceRule) -> None:
        for name, synapse in synapses.items():
            if not _known(synapse):
                raise TrainingError(
                    f"{name} feeds a membrane and cannot learn from a trace: {type(synapse).__name__} overrides "
                    "forward(), so its weight gradient cannot be computed from a trace; use Conv1d, Conv2d, Conv3d, "
                    "Linear, QuantConv1d, QuantConv2d or QuantLinear there, or a rule without traces (sltt)"
                )
        self.rule = rule
        self.names = {synapse: name for name, synapse in synapses.items()}
        self._all = tuple(synapses)
        self._scopes: WeakKeyDictionary[Scope, _Seen] = WeakKeyDictionary()

    def before(self, scope: Scope, name: str, child: nn.Module, x: Tensor) -> Tensor:
        if self._looks(scope):
            self._check_path(scope, name, x)
        return x

    def run(
        self, scope: Scope, name: str, child: nn.Module, x: Tensor, given: State | None
    ) -> tuple[Tensor, State | None] | None:
        if child not in self.names:
            return None
        check_chunk(x, scope.steps)
        moved = self._drift_behind(scope, x, self.names[child]) if self.rule.dynamic else None
        return run_traced(child, x, given, scope.steps, self.rule, moved)

    def after(self, scope: Scope, name: str, child: nn.Module, x: Tensor, y: Tensor, state: State | None) -> Tensor:
        if self.rule.dynamic and isinstance(child, Neuron):
            self._seen(scope).fired.append(_Fired(name, y, x, state))
        if self._looks(scope):
            self._seen(scope).gave.append((name, ref(y)))
        return y

    def _seen(self, scope: Scope) -> _Seen:
        return self._scopes.setdefault(scope, _Seen())

    def _looks(self, scope: Scope) -> bool:
        """Return whether to check the network's wiring, which is done once per sequence."""
        return not scope.continues and not torch.compiler.is_compiling()

    def _check_path(self, scope: Scope, name: str, x: Tensor) -> None:
        """Raise `TrainingError` if a child reads another child's output, but no declared path connects the two."""
        before = [other for other, gave in self._seen(scope).gave if gave() is x]
        paths = stated_ways(scope.module) if before else None
        if paths is None:
            return
        on_paths = {child for way in paths for child in way}
        if name not in on_paths or not on_paths.issuperset(before):
            return
        known = {pair for way in paths for pair in itertools.pairwise(way)}
        if not any((other, name) in known for other in before):
            kind = type(scope.module).__name__
            raise TrainingError(
                f"{kind} runs {name!r} on the output of {before[-1]!r}, but no path in {kind}.paths has this "
                "connection; a rule with traces requires the sources of every neuron, so declare all paths of x"
            )

    def _drift_behind(self, scope: Scope, x: Tensor, synapse: str) -> Tensor | None:
        """Return the potential changes of the neurons that emitted `x`, or None if no stateful neurons emitted `x`."""
        fired = next((fired for fired in self._seen(scope).fired if fired.y is x), None)
        if fired is None or fired.state is None:
            return None
        potential = fired.state.get("potential")
        if not isinstance(potential, Tensor):
            raise TrainingError(
                f"{synapse} follows the neuron {fired.name!r}, whose potential sets the decay of the trace, but it "
                f"keeps {', '.join(map(repr, fired.state))} and no 'potential'; give the state that integrates "
                "its current this name, or use a rule with a separate leak for traces (ottt)"
            )
        return drift(fired.current[-1].to(potential.dtype), potential, self.rule.leak)

    def check(self, state: State | None) -> None:
        """Raise `TrainingError` unless the state after a forward pass contains the trace of every synapse."""
        kept = set(_traced(state or {}, ""))
        for name in self._all:
            # A custom module around the network may nest its state under a name.
            if name not in kept and not any(path.endswith(f".{name}") for path in kept):
                raise TrainingError(
                    f"{name} feeds a membrane and needs a trace, but none was kept: it was called directly, "
                    "or did not run; run it in hdlif.nn.Sequential, or by its name with hdlif.nn.Scope, and return "
                    "their state, or use a rule without traces (sltt)"
                )


def _traced(state: Mapping[str, Any], at: str) -> Iterator[str]:
    """Yield the paths of the synapses whose traces a state contains."""
    for name, value in state.items():
        if name == "trace" and isinstance(value, Tensor):
            yield at
        elif isinstance(value, Mapping):
            yield from _traced(value, f"{at}.{name}" if at else name)


def _known(synapse: nn.Module) -> bool:
    kind = _FORWARDS.get(type(synapse).forward)
    # The forward pass of a convolution has two methods.
    conv = "_conv_forward"
    return (
        kind is not None
        and getattr(type(synapse), conv, None) is getattr(kind, conv, None)
        and not ({"forward", conv} & vars(synapse).keys())
    )
