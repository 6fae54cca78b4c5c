"""Adapt the temperature of Dspike surrogates during training, using finite differences (Li et al., NeurIPS 2021)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hdlif.nn import Dspike, evaluation_mode

EPSILON = 1e-2
"""Half the distance between the two points of a finite difference."""


def dspikes(model: nn.Module) -> list[Dspike]:
    """Return those surrogates of a model that have an adaptable temperature."""
    return [module for module in model.modules() if isinstance(module, Dspike)]


def adapt_temperatures(
    model: nn.Module,
    loss: Callable[[], Tensor],
    *,
    generator: torch.Generator,
    directions: int = 16,
    change: float = 0.2,
    least: float = 1.0,
    mean: Callable[[Tensor], Tensor] = lambda values: values,
) -> float:
    """Raise, lower or keep the temperature of all Dspikes, whichever makes the surrogate gradient most accurate.

    The accuracy is the cosine between two sets of slopes of the loss L along random directions d of the first layer's
    weights w. The surrogate gradient predicts the first set of slopes. The second set is (L(w + εd) - L(w - εd))/2ε,
    which does not depend on the surrogates. The network is in eval mode during the comparison.

    Args:
        loss: returns the loss of one batch (of this rank's share of it), through all time steps.
        directions: number of random directions; their entries have the standard deviation of the weights.
        change: step size of the temperature.
        least: smallest temperature.
        mean: averages over the ranks of the training run.
    Returns:
        the chosen temperature.
    """
    surrogates = dspikes(model)
    weight = next(module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    start = float(surrogates[0].temperature)
    scale = weight.detach().std()
    drawn = [torch.randn(weight.shape, generator=generator).to(weight) * scale for _ in range(directions)]
    with evaluation_mode(model):
        differences = mean(torch.stack([_difference(loss, weight, direction) for direction in drawn]))
        cosines = {}
        for temperature in sorted({max(start - change, least), start, start + change}):
            _set(surrogates, temperature)
            (gradient,) = torch.autograd.grad(loss(), [weight])
            slopes = mean(torch.stack([(gradient * direction).sum() for direction in drawn]))
            cosines[temperature] = float(nn.functional.cosine_similarity(slopes, differences, dim=0))
    # On a tie, keep the present temperature, so a network without a gradient does not change.
    best = max(cosines, key=lambda temperature: (cosines[temperature], temperature == start))
    _set(surrogates, best)
    return best


def _difference(loss: Callable[[], Tensor], weight: Tensor, direction: Tensor) -> Tensor:
    with torch.no_grad():
        kept = weight.clone()
        weight.add_(EPSILON * direction)
        above = loss()
        weight.copy_(kept).sub_(EPSILON * direction)
        below = loss()
        weight.copy_(kept)
    return (above - below) / (2 * EPSILON)


def _set(surrogates: list[Dspike], temperature: float) -> None:
    for surrogate in surrogates:
        surrogate.temperature.fill_(temperature)
