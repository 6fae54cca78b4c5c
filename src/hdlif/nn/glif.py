"""Gated LIF neurons, whose learned gates blend variants of leak, input and reset."""

from functools import partial

import torch
from torch import Tensor, nn

from hdlif.functional import GLIFParameters, Surrogate, Triangle, glif_step
from hdlif.functional.surrogate import checked_surrogate
from hdlif.nn.fusion import Path
from hdlif.nn.per_step import PerStep, broadcast_rows
from hdlif.nn.step_neuron import Step, SteppedNeuron

GATES = ("decay_gate", "input_gate", "reset_gate")


class _Logits(PerStep):
    """The learned logits of a GLIF layer's parameters, each of shape [T or 1] or [T or 1, C]."""

    def __init__(self, time_steps: int, start: dict[str, float], *, channels: int | None, per_step: bool) -> None:
        super().__init__(time_steps)
        for name, value in start.items():
            if not 0 < value < 1:
                raise ValueError(f"{name} = {value}; it must lie in (0, 1)")
            rows = time_steps if per_step or name == "conductance" else 1
            logit = torch.full((rows, *([] if channels is None else [channels])), value).logit()
            if name in GATES:
                # Equal initial values would keep the channels equal.
                logit += 0.2 * (torch.rand_like(logit) - 0.5)
            self.register_parameter(name, nn.Parameter(logit))

    def forward(self, steps: range, x: Tensor) -> dict[str, Tensor]:
        """Return all parameters for each step of a chunk, in shapes that broadcast to the input x [K, B, C, ...]."""
        return {
            name: broadcast_rows(self.held(torch.sigmoid(logit), steps), x, name)
            for name, logit in self.named_parameters()
        }


def _glif_step(
    current: Tensor, potential: Tensor, fired: Tensor, *parameters: Tensor, surrogate: Surrogate
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply `functional.glif_step` with the spike as an additional state."""
    fired, potential = glif_step(current, potential, fired, GLIFParameters(*parameters), surrogate=surrogate)
    return fired, potential, fired


class GLIF(SteppedNeuron):
    """Gated LIF neurons (Yao et al., NeurIPS 2022) with spikes of 0 or 1; see `functional.glif_step`.

    All parameters are sigmoids of learned logits, and the gates start near ½.

    >>> import torch
    >>> from hdlif.nn import GLIF
    >>> _ = torch.manual_seed(0)
    >>> spikes, state = GLIF(time_steps=4, channels=3)(torch.rand(4, 2, 3), None, range(4))
    >>> list(spikes.shape), sorted(spikes.unique().tolist()), sorted(state)
    ([4, 2, 3], [0.0, 1.0], ['fired', 'potential'])

    Args:
        time_steps: T.
        channels: C for parameters per channel; None for one set per layer.
        per_step: True gives every parameter a value for each step; by default only the conductance has one, as
            published.
        leak, linear_leak, reset, threshold: initial λ, l, r and θ, in (0, 1); by default l starts at θ/2T and r at θ.
        surrogate: replaces dH/dx.
        path: see `SteppedNeuron.choose_path`.
    State: {"potential": u, "fired": h}, [B, ...] each, float32 or wider; u is the potential before the reset. h is
    stored because θ may change through training and has a graph that `detach` does not cut.
    """

    states = ("potential", "fired")

    def __init__(
        self,
        time_steps: int,
        *,
        channels: int | None = None,
        per_step: bool = False,
        leak: float = 0.25,
        threshold: float = 0.5,
        linear_leak: float | None = None,
        reset: float | None = None,
        surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
        path: Path | None = None,
    ) -> None:
        super().__init__(path=path)
        start = {
            **dict.fromkeys(GATES, 0.5),
            "leak": leak,
            "linear_leak": threshold / (2 * max(time_steps, 1)) if linear_leak is None else linear_leak,
            "conductance": 0.5,
            "reset": threshold if reset is None else reset,
            "threshold": threshold,
        }
        self.logits = _Logits(time_steps, start, channels=channels, per_step=per_step)
        self.surrogate = checked_surrogate(surrogate)

    def equation(self) -> Step:
        return partial(_glif_step, surrogate=self.surrogate)

    def range_of(self, name: str) -> tuple[float, float]:
        return 0.0, 1.0

    def learns(self, name: str) -> bool:
        return True

    def rows_at(self, steps: range, x: Tensor) -> list[Tensor]:
        return list(self.logits(steps, x).values())

    def row_values(self) -> dict[str, Tensor]:
        return {
            name: torch.sigmoid(logit.detach().double()).reshape(len(logit), -1)
            for name, logit in self.logits.named_parameters()
        }

    def extra_repr(self) -> str:
        return f"surrogate={self.surrogate}"
