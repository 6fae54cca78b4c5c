"""Spiking networks of other libraries as ours: their layers are those of torch, their neurons are turned here.

The networks are followed as `hdlif.models.spiking` follows ordinary ones; an activation is no neuron here, and refused.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdlif.errors import ConversionError, some
from hdlif.functional import Reset, Surrogate
from hdlif.models.spiking import layers as _layers  # noqa: F401 - registers what becomes of each
from hdlif.models.spiking.following import follow
from hdlif.models.spiking.turning import Fed, Turned, Turning
from hdlif.models.wiring import INPUT, Child, Line, Multiple, Wired
from hdlif.nn import Temporal, UnitLIF
from hdlif.nn.per_step import StepValue

MOST_SHOWN = 3


class TurningNeurons(Turning):
    """One network of another library on its way.

    Args:
        time_steps: T.
        surrogate: in place of the neurons' own; None for those.
        library: its name.
        accepted: its neurons that have a counterpart.
        of_step: what a forward pass of one step is like, after "forward(self, x) of x [B, ...] alone".
        is_stateful: whether a module of the library keeps a state of its own.
    """

    def __init__(
        self,
        time_steps: int,
        surrogate: Surrogate | None,
        library: str,
        accepted: str,
        of_step: str,
        is_stateful: Callable[[nn.Module], bool],
        neurons: Mapping[type[nn.Module], Callable[..., Turned]],
        others: Mapping[type[nn.Module], type[nn.Module]],
    ) -> None:
        super().__init__(lambda channels: nn.Identity(), follow)
        self.time_steps, self.surrogate, self.library, self.accepted = time_steps, surrogate, library, accepted
        self._of_step = of_step
        self._is_stateful, self._of_neurons, self._others = is_stateful, neurons, others

    def turn(self, module: nn.Module, path: str, fed: Fed) -> Turned:
        turns = self._of_neurons.get(type(module))
        if turns is not None:
            self.neurons += 1
            return turns(self, module, path, fed)
        plain = self._others.get(type(module))
        if plain is not None:
            # A layer of torch's but for how it takes time, which ours does for it.
            module = copy.copy(module)
            module.__class__ = plain
        elif self._is_stateful(module):
            return self.refuse(path, f"({type(module).__name__}) has no counterpart; {self.accepted}")
        return super().turn(module, path, fed)

    def fire(self, path: str, fed: Fed) -> Turned:
        return self.refuse(path, f"is an activation, and the neurons of {self.library} are accepted")

    def network(self, module: nn.Module) -> Temporal:
        """What becomes of a network. Raises `ConversionError`, which names each part that has no counterpart."""
        mode = module.training
        made, _ = self.turn(module, "", Fed())
        if self.problems:
            named = [f"{path or type(module).__name__} {why}" for path, why in self.problems]
            said = some(named, MOST_SHOWN)
            if "forward pass" in said or "runs more than once" in said:
                said += (
                    "; accepted is what one time step computes: forward(self, x) of x [B, ...] alone"
                    f"{self._of_step}; leave out the loop over time and resets, for hdlif runs the steps"
                )
            raise ConversionError(f"{type(module).__name__} of {self.library}: {said}")
        if not self.neurons:
            raise ConversionError(f"{type(module).__name__} has no neurons of {self.library}; {self.accepted}")
        assert isinstance(made, Temporal)
        return made.train(mode)


def copied(network: nn.Module, state_dict: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A copy of a network, whatever graph its neurons' states have, with the weights of `state_dict`, if it is given.

    Raises:
        ConversionError: `state_dict` is of another network.
    """
    held = [one for module in network.modules() for one in vars(module).values()]
    held += [one for entry in held if isinstance(entry, dict) for one in entry.values()]
    memo: dict[int, Any] = {id(one): one.detach() for one in held if isinstance(one, Tensor) and not one.is_leaf}
    made = copy.deepcopy(network, memo)
    if state_dict is not None:
        try:
            made.load_state_dict(state_dict)
        except (RuntimeError, TypeError) as error:
            raise ConversionError(f"state_dict is of another network: {' '.join(str(error).split())[:300]}") from error
    return made


def unit_lif(
    time_steps: int,
    leak: Tensor | float,
    fires_from: Tensor | NDArray[np.float32] | float,
    *,
    reset: Reset,
    surrogate: Surrogate,
) -> UnitLIF:
    """LIF neurons with these fixed values, numbers or one for each channel."""
    rows = [torch.as_tensor(np.asarray(value), dtype=torch.float32).reshape(-1) for value in (leak, fires_from)]
    channels = max(map(len, rows))
    made = UnitLIF(
        time_steps, channels=None if channels == 1 else channels, per_step=False, reset=reset, surrogate=surrogate
    )
    fill(made, leak=rows[0], threshold=rows[1])
    return made


def learn_leak(neuron: UnitLIF, logit: Tensor) -> None:
    """Have neurons learn their leak λ = σ(a), from these a: one, or one for each channel."""
    fixed = neuron.leak
    learned = StepValue(
        fixed.time_steps, value=0.5, learned=True, channels=fixed.channels, per_step=False, name=fixed.name
    )
    with torch.no_grad():
        learned.logit.copy_(logit.detach().reshape(-1).expand(fixed.channels or 1).reshape(learned.logit.shape))
    neuron.leak = learned


def fill(neuron: nn.Module, **rows: Tensor) -> None:
    """Give fixed parameters their values, one number or one for each channel."""
    for name, row in rows.items():
        value: Any = neuron.get_submodule(name).value
        value.copy_(row.expand(value.shape[-1]).reshape(value.shape))


def above(threshold: Any) -> NDArray[np.float32]:
    """The least float32 above a threshold, from which what fires strictly above it fires."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(np.inf))


def behind_gain(neuron: nn.Module, gain: float) -> nn.Module:
    """Neurons whose currents count `gain` times."""
    if gain == 1:
        return neuron
    lines = (Line("scaled", Multiple(gain), (INPUT,)), Line("neuron", Child("neuron"), ("scaled",)))
    return Wired({"neuron": neuron}, lines, "neuron")
