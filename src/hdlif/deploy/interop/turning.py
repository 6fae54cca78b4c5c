"""Convert spiking networks that combine torch layers with another library's neurons.

Networks are traced as in `hdlif.models.spiking`, but activations raise an error instead of becoming neurons.
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
from hdlif.models.spiking import layers as _layers  # noqa: F401 - registers the conversions
from hdlif.models.spiking.following import follow
from hdlif.models.spiking.turning import Fed, Turned, Turning
from hdlif.models.wiring import INPUT, Child, Line, Multiple, Wired
from hdlif.nn import Temporal, UnitLIF
from hdlif.nn.per_step import StepValue

MOST_SHOWN = 3


class TurningNeurons(Turning):
    """A converter for networks from another library.

    Args:
        time_steps: T.
        surrogate: replacement for the neurons' own surrogates; None keeps them.
        library: name of the library.
        accepted: the library's supported neurons, for error messages.
        of_step: text that describes a one-step forward pass, after "forward(self, x) of x [B, ...] alone".
        is_stateful: function that returns whether a module of the library has its own state.
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
            # A torch layer with its own handling of time, which hdlif replaces.
            module = copy.copy(module)
            module.__class__ = plain
        elif self._is_stateful(module):
            return self.refuse(path, f"({type(module).__name__}) has no counterpart; {self.accepted}")
        return super().turn(module, path, fed)

    def fire(self, path: str, fed: Fed) -> Turned:
        return self.refuse(path, f"is an activation; only neurons of {self.library} are accepted")

    def network(self, module: nn.Module) -> Temporal:
        """Convert a network, or raise a `ConversionError` that lists all unsupported modules and operations."""
        mode = module.training
        made, _ = self.turn(module, "", Fed())
        if self.problems:
            named = [f"{path or type(module).__name__} {why}" for path, why in self.problems]
            said = some(named, MOST_SHOWN)
            if "forward pass" in said or "runs more than once" in said:
                said += (
                    f"; forward(self, x) must compute one time step of x [B, ...] alone{self._of_step}; remove the "
                    "loop over time and resets, because hdlif runs the steps"
                )
            raise ConversionError(f"{type(module).__name__} of {self.library}: {said}")
        if not self.neurons:
            raise ConversionError(f"{type(module).__name__} has no neurons of {self.library}; {self.accepted}")
        assert isinstance(made, Temporal)
        return made.train(mode)


def copied(network: nn.Module, state_dict: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Copy a network, even if neuron states belong to an autograd graph, and load `state_dict` if given.

    Raises:
        ConversionError: `state_dict` belongs to another network.
    """
    held = [one for module in network.modules() for one in vars(module).values()]
    held += [one for entry in held if isinstance(entry, dict) for one in entry.values()]
    memo: dict[int, Any] = {id(one): one.detach() for one in held if isinstance(one, Tensor) and not one.is_leaf}
    made = copy.deepcopy(network, memo)
    if state_dict is not None:
        try:
            made.load_state_dict(state_dict)
        except (RuntimeError, TypeError) as error:
            raise ConversionError(
                f"state_dict belongs to another network: {' '.join(str(error).split())[:300]}"
            ) from error
    return made


def unit_lif(
    time_steps: int,
    leak: Tensor | float,
    fires_from: Tensor | NDArray[np.float32] | float,
    *,
    reset: Reset,
    surrogate: Surrogate,
) -> UnitLIF:
    """Return LIF neurons with a fixed leak and a fixed threshold, each either shared or per channel."""
    rows = [torch.as_tensor(np.asarray(value), dtype=torch.float32).reshape(-1) for value in (leak, fires_from)]
    channels = max(map(len, rows))
    made = UnitLIF(
        time_steps, channels=None if channels == 1 else channels, per_step=False, reset=reset, surrogate=surrogate
    )
    fill(made, leak=rows[0], threshold=rows[1])
    return made


def learn_leak(neuron: UnitLIF, logit: Tensor) -> None:
    """Make the neurons' leak λ = σ(a) learnable, with `logit` [1 or C] as the initial value of a."""
    fixed = neuron.leak
    learned = StepValue(
        fixed.time_steps, value=0.5, learned=True, channels=fixed.channels, per_step=False, name=fixed.name
    )
    with torch.no_grad():
        learned.logit.copy_(logit.detach().reshape(-1).expand(fixed.channels or 1).reshape(learned.logit.shape))
    neuron.leak = learned


def fill(neuron: nn.Module, **rows: Tensor) -> None:
    """Set fixed parameters to one value, or to one value per channel."""
    for name, row in rows.items():
        value: Any = neuron.get_submodule(name).value
        value.copy_(row.expand(value.shape[-1]).reshape(value.shape))


def above(threshold: Any) -> NDArray[np.float32]:
    """Return the next float32 above a threshold: to fire at or above this value means to fire strictly above the
    threshold.
    """
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(np.inf))


def behind_gain(neuron: nn.Module, gain: float) -> nn.Module:
    """Return a module that multiplies the current by `gain` and then runs the neurons."""
    if gain == 1:
        return neuron
    lines = (Line("scaled", Multiple(gain), (INPUT,)), Line("neuron", Child("neuron"), ("scaled",)))
    return Wired({"neuron": neuron}, lines, "neuron")
