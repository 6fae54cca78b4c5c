"""What an update costs: time steps run forward and back, counted as they run, and the bytes saved at the most."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hdlif.nn import Neuron
from hdlif.report.accounting.memory import watching_saved


@dataclass(frozen=True)
class UpdateCost:
    """What a run of a learning rule did to a network.

    An example is at `update_cost`.

    Attributes:
        forward_steps: time steps that a neuron layer ran, with a graph or without; the mean over the layers.
        backward_steps: time steps that a gradient came back to, likewise.
        saved_bytes: the most bytes saved for backward at any one time.
    """

    forward_steps: float
    backward_steps: float
    saved_bytes: int


def update_cost(model: nn.Module, update: Callable[[], object], *, batch: Iterable[Tensor] = ()) -> UpdateCost:
    """Run `update()`, which takes `model` through its forward and backward passes, and count.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.report.accounting import update_cost
    >>> from hdlif.learning import STBP
    >>> from hdlif.nn import HDLIF, Sequential
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> rule, x, target = STBP(), torch.rand(4, 5, 2), torch.tensor([0, 1, 2, 0, 1])
    >>> def update():
    ...     for step in rule(model, x, target, rule.schedule(4, torch.Generator())):
    ...         step.loss.backward()
    >>> cost = update_cost(model, update)
    >>> cost.forward_steps, cost.backward_steps
    (4.0, 4.0)

    Args:
        batch: its tensors, which lie in memory anyway and do not count as saved.
        model: a network with neuron layers.
        update: is called once, without arguments.
    Raises:
        ValueError: the model has no neuron layer to count at.
    """
    neurons = [module for module in model.modules() if isinstance(module, Neuron)]
    if not neurons:
        raise ValueError(f"{type(model).__name__} has no neuron layer; neurons derive from hdlif.nn.Neuron")
    forward = backward = 0

    def count(module: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
        nonlocal forward
        _, _, steps = args
        forward += len(steps)
        if output[0].requires_grad:
            output[0].register_hook(lambda grad: count_back(len(steps)))  # type: ignore[no-untyped-call]

    def count_back(steps: int) -> None:
        nonlocal backward
        backward += steps

    hooks = [neuron.register_forward_hook(count) for neuron in neurons]
    try:
        with watching_saved([*model.parameters(), *model.buffers(), *batch]) as saved:
            update()
    finally:
        for hook in hooks:
            hook.remove()
    return UpdateCost(forward / len(neurons), backward / len(neurons), saved.peak)
