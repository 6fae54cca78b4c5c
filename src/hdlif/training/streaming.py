"""Training on endless sequences, in which each batch continues the previous batch.

The samples at one index of successive batches form a stream, and the network's state carries over between them. Each
batch is processed in parts, with one update per part.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.errors import CheckpointError, InputError
from hdlif.learning import Carry, Rule, Timed, step_weights
from hdlif.learning.rule import chunk
from hdlif.nn import SECA, BatchNorm2d, MemBN, State
from hdlif.nn.per_step import PerStep
from hdlif.training.update import Updater

_STATE, _KEPT = "stream.state.", "stream.kept."


class Streams:
    """The state of a training run's streams, and the split of each batch into parts.

    Args:
        every: steps per update.
        time_steps: T of a sample; a multiple of `every`.
        rule, model: rule and model of the training run.
    Raises:
        InputError: a sample is not a whole number of parts, the rule cannot continue a sequence, its criterion weights
            steps differently, or the model has per-step parameters.
    """

    def __init__(self, every: int, time_steps: int, rule: Rule, model: nn.Module) -> None:
        check_streams(every, time_steps, rule, model)
        self.every, self._time_steps, self._rule = every, time_steps, rule
        criterion = getattr(rule, "criterion", None)
        self._each = isinstance(criterion, Timed) and criterion.each
        self.carry = Carry()

    def parts(self, x: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the parts of a batch [T or 1, B, ...] and of the batch's target, in order."""
        for first in range(0, self._time_steps, self.every):
            steps = range(first, first + self.every)
            yield chunk(x, steps), target[:, first : steps.stop] if self._each else target

    def update(self, updater: Updater, x: Tensor, target: Tensor, draws: torch.Generator) -> None:
        """Update the network once for each part of a batch."""
        for part, wanted in self.parts(x, target):
            updater(part, wanted, self._rule.schedule(self.every, draws), carry=self.carry)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint stores."""
        kept = {} if self.carry.kept is None else self.carry.kept.tensors()
        state = {_STATE + name: value for name, value in _flat(self.carry.state or {}, "")}
        return state | {_KEPT + name: value for name, value in kept.items()}

    def restore(self, tensors: Mapping[str, Tensor], step: int, device: torch.device, path: Any) -> None:
        """Restore the streams from the tensors that `tensors` returned after `step` time steps.

        Raises:
            CheckpointError: the tensors do not form a state.
        """
        state: dict[str, Any] = {}
        for name, value in tensors.items():
            if name.startswith(_STATE):
                *path_to, last = name.removeprefix(_STATE).split(".")
                at: Any = state
                for one in path_to:
                    at = at.setdefault(one, {})
                    if not isinstance(at, dict):
                        raise CheckpointError(f"{path}: {name} is below a tensor; the file is damaged, train again")
                at[last] = value.to(device)
        kept = {name.removeprefix(_KEPT): one.to(device) for name, one in tensors.items() if name.startswith(_KEPT)}
        self.carry = Carry(state or None, step, restored=kept)


def _flat(state: State, at: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        if isinstance(value, Tensor):
            yield at + name, value
        else:
            yield from _flat(value, f"{at}{name}.")


def check_streams(every: int, time_steps: int, rule: Rule, model: nn.Module) -> None:
    """Raise `InputError` unless the model can train on streams of samples with T steps, `every` steps at a time."""
    if every > time_steps or time_steps % every:
        raise InputError(
            f"training.stream = {every} steps per update, but a sample has time_steps = {time_steps}; give a divisor "
            "of time_steps"
        )
    if "carry" not in inspect.signature(rule.__call__).parameters:
        raise InputError(
            f"the rule {type(rule).__name__} does not support streams; a rule for streams takes (model, x, target, "
            "plan, carry=...), as in hdlif.learning.Streaming"
        )
    criterion = getattr(rule, "criterion", None)
    if isinstance(criterion, Timed) and (criterion.first or step_weights(criterion, time_steps).weights is not None):
        raise InputError("streams need an equal loss at every step; set task.learn_from: every, and remove task.delay")
    found = {name: fix for name, module in model.named_modules() if (fix := _values_of_steps(module)) is not None}
    if found:
        first, fixes = next(iter(found)), dict.fromkeys(found.values())
        what = f"Mem-BN ({first})" if found[first] == _NO_MEM_BN else first
        raise InputError(
            f"{what} has separate values for each of {time_steps} time steps, but a stream has no first step; "
            f"{', and '.join(fixes)}"
        )


_NO_MEM_BN = "remove neuron.mem_bn"


def _values_of_steps(module: nn.Module) -> str | None:
    """Return the setting that removes a module's per-step parameters, or None if there are none."""
    if isinstance(module, BatchNorm2d):
        return None if module.time_steps is None else "set norm.per_step: false"
    if not isinstance(module, PerStep) or all(len(one) == 1 for one in module.parameters(recurse=False)):
        return None
    if isinstance(module, MemBN):
        return _NO_MEM_BN
    return "set attention.per_step: false" if isinstance(module, SECA) else "set neuron.per_step: false"
