"""Record gradients with hooks: the gradients that reach a network's neurons, and the gradients of a rule.

The hooks are temporary, and the network is not modified.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hdlif.learning.rule import Plan, Rule
from hdlif.nn import Carrying, Neuron, Recurrent, State, carrying

Loss = Callable[[Tensor, Tensor], Tensor]
"""Function (logits of all steps [T, B, classes], target) -> scalar loss."""
Named = dict[str, Tensor]


def neurons_of(model: nn.Module) -> dict[str, Neuron]:
    """Return the neuron layers of a network by name, in the network's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Neuron) and module.fires}


def _emitting(model: nn.Module) -> dict[str, nn.Module]:
    """Return the module that outputs each neuron layer's spikes: the neuron layer or an enclosing recurrent layer."""
    around = {module.neuron: module for module in model.modules() if isinstance(module, Recurrent)}
    return {name: around.get(neuron, neuron) for name, neuron in neurons_of(model).items()}


def synapses_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers of a network by name, in the network's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _ConvNd | nn.Linear)}


def total(values: Tensor, target: Tensor) -> Tensor:
    """Return the sum of `values`, as the criterion for outputs that are already weighted."""
    return values.sum()


@dataclass(frozen=True)
class Observed:
    """The values of a forward pass over all steps, and the gradients of the loss.

    Attributes:
        along_logits: dL/do_t, [T, B, classes].
        along_spikes: by neuron layer, G_t = dL/ds_t along the edge to the next layer only, [T, B, ...].
        spikes: by neuron layer, s_t, [T, B, ...].
        inputs: by synapse, its input, [T or 1, B, ...].
    """

    along_logits: Tensor
    along_spikes: Named
    spikes: Named
    inputs: Named


def observe(model: nn.Module, x: Tensor, target: Tensor, loss: Loss, *, time_steps: int) -> Observed:
    """Run all steps together, and back-propagate `loss` through time and depth (STBP) to spikes and logits."""
    spikes: Named = {}
    read_by: dict[str, list[Tensor]] = {}
    batch = x.shape[1]

    def emit(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, State | None]) -> None:
            # All steps are one chunk, so only the next layer reads these outputs; no reset does.
            spikes[name] = output[0]

        return hook

    def read(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            # A recurrent synapse runs once for each step.
            read_by.setdefault(name, []).append(args[0].detach().unflatten(0, (-1, batch)))

        return hook

    with ExitStack() as stack:
        for neuron in neurons_of(model).values():
            stack.callback(neuron.register_forward_pre_hook(_current_apart(None)).remove)
        for name, layer in _emitting(model).items():
            stack.callback(layer.register_forward_hook(emit(name)).remove)
        for name, synapse in synapses_of(model).items():
            stack.callback(synapse.register_forward_pre_hook(read(name)).remove)
        logits, _ = model(x, steps=carrying(range(time_steps), keeps_graphs=True))
    names = list(spikes)
    found = torch.autograd.grad(loss(logits, target), [logits, *spikes.values()], allow_unused=True)
    along = [torch.zeros_like(spikes[name]) if g is None else g for name, g in zip(names, found[1:], strict=True)]
    return Observed(
        along_logits=found[0],
        along_spikes=dict(zip(names, along, strict=True)),
        spikes={name: value.detach() for name, value in spikes.items()},
        inputs={name: torch.cat(parts) for name, parts in read_by.items()},
    )


@dataclass
class Gradients:
    """A rule's gradients for one plan: dL/dW by parameter, and dL/dm_t [T, B, ...] by neuron layer."""

    parameters: Named = field(default_factory=dict)
    membranes: Named = field(default_factory=dict)


def end_to_end(model: nn.Module, x: Tensor, target: Tensor, rule: Rule, plan: Plan, weights: Tensor) -> Named:
    """Return the gradient of (1/T)·Σ_t <weights_t, o_t> that a rule with criterion `total` computes.

    Args:
        weights: dL/do_t, [T, B, classes], zero at omitted steps. Every rule's gradient has the factor
            1/T, which cancels in comparisons.
    """

    def weigh(module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: tuple[Tensor, State | None]) -> Any:
        steps: range = kwargs["steps"]
        return output[0] * weights[steps.start : steps.stop], output[1]

    handle = model.register_forward_hook(weigh, with_kwargs=True)
    try:
        return _learn(model, x, target, rule, plan)
    finally:
        handle.remove()


def layer_local(model: nn.Module, x: Tensor, target: Tensor, rule: Rule, plan: Plan, along_spikes: Named) -> Gradients:
    """Return the gradients of a rule for layers that receive the given G, with the graph cut after each neuron layer.

    The loss is Σ_t Σ_layers <G_t, s_t>, and each layer's output is detached. A synapse receives gradients only from the
    neurons that it feeds directly. A recurrent layer includes its recurrent connection.
    """
    found = Gradients()
    terms: list[Tensor] = []

    def cut(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, State | None]) -> Any:
            steps: range = args[2]
            spikes, after = output
            along = along_spikes[name][steps.start : steps.stop]
            # The rule's loss is a mean over its steps.
            terms.append((spikes * along).flatten(2).sum(2, keepdim=True) * plan.time_steps)
            return spikes.detach(), after

        return hook

    def gather(name: str) -> Callable[[Tensor, range], None]:
        found.membranes[name] = torch.zeros_like(along_spikes[name])

        def add(gradient: Tensor, steps: range) -> None:
            found.membranes[name][steps.start : steps.stop] += gradient

        return add

    def replace(module: nn.Module, args: Any, output: tuple[Tensor, State | None]) -> Any:
        value = torch.stack(terms).sum(0)
        terms.clear()
        return value, output[1]

    with ExitStack() as stack:
        for name, neuron in neurons_of(model).items():
            stack.callback(neuron.register_forward_pre_hook(_current_apart(gather(name))).remove)
        for name, layer in _emitting(model).items():
            stack.callback(layer.register_forward_hook(cut(name)).remove)
        stack.callback(model.register_forward_hook(replace).remove)
        found.parameters = _learn(model, x, target, rule, plan)
    return found


def _learn(model: nn.Module, x: Tensor, target: Tensor, rule: Rule, plan: Plan) -> Named:
    """Return the gradients that a rule accumulates over one plan, for all trainable parameters."""
    # The network's own gradients are restored at the end.
    kept = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter in model.parameters():
            parameter.grad = None
        # Run each pass once for the hooks, with its graph.
        for step in rule(Carrying(model, keeps_graphs=True), x, target, plan):
            step.loss.backward()  # type: ignore[no-untyped-call]
        return {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient


def _current_apart(received: Callable[[Tensor, range], None] | None) -> Callable[..., Any]:
    """Return a hook that expands a neuron's current to one entry per step and calls `received` with the gradient."""

    def hook(module: nn.Module, args: tuple[Tensor, State | None, range]) -> tuple[Tensor, State | None, range]:
        x, state, steps = args
        current = x.expand(len(steps), *x.shape[1:])
        if torch.is_grad_enabled():
            if not current.requires_grad:
                current = current.detach().requires_grad_()
            if received is not None:
                current.register_hook(lambda gradient: received(gradient, steps))  # type: ignore[no-untyped-call]
        return current, state, steps

    return hook


def mean_of(found: Iterable[tuple[Gradients, float]]) -> Gradients:
    """Return the mean gradients over several plans, weighted by probability."""
    mean = Gradients()
    for one, probability in found:
        for into, values in ((mean.parameters, one.parameters), (mean.membranes, one.membranes)):
            for name, value in values.items():
                into[name] = into[name] + value * probability if name in into else value * probability
    return mean
