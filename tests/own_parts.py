"""Parts of a recipe that a user may have written."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning import Criterion, Plan, Step
from hdlif.learning.rule import chunk
from hdlif.nn import BatchNorm2d

NUMBER = 3


@dataclass(frozen=True)
class LastStep:
    """Learns from the last step alone, its potential detached."""

    criterion: Criterion = F.cross_entropy
    weight: float = 1.0

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return Plan(time_steps, steps=(time_steps - 1,), updates=(True,))

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        last = range(plan.time_steps - 1, plan.time_steps)
        with torch.no_grad():
            _, state = model(chunk(x, range(last.start)), None, steps=range(last.start))
        logits, _ = model(chunk(x, last), state, steps=last)
        yield Step(self.weight * self.criterion(logits[0], target), logits.detach(), update=True)


class SignSGD(torch.optim.Optimizer):
    """Keeps how often each parameter has stepped."""

    def __init__(self, params: Any, lr: float, scale: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "scale": scale})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state["count"] = state.get("count", torch.zeros(())) + 1
                    parameter -= group["lr"] * group["scale"] / state["count"] * parameter.grad.sign()


class KeepsMatrix(SignSGD):
    """Keeps what no checkpoint takes."""

    def step(self, closure: None = None) -> None:
        super().step()
        for parameter in [p for group in self.param_groups for p in group["params"]]:
            self.state[parameter]["matrix"] = torch.zeros(2, 2, 2, 2, 2)


def halving(every: int = 2) -> Any:
    return lambda step, total: 0.5 ** (step // every)


def wrong_schedule() -> Any:
    return lambda step, total: -1.0


def quiet_norm(time_steps: int, eps: float = 1e-3) -> Any:
    return lambda channels: BatchNorm2d(channels, eps=eps)


class GroupState(SignSGD):
    """Counts in its groups."""

    def step(self, closure: None = None) -> None:
        super().step()
        for group in self.param_groups:
            group["steps"] = group.get("steps", 0) + 1


class KeepsNumber(SignSGD):
    """Keeps a number that is no tensor."""

    def step(self, closure: None = None) -> None:
        for parameter in [p for group in self.param_groups for p in group["params"]]:
            self.state[parameter]["step"] = 1


class NamesOddly(SignSGD):
    """Keeps a tensor under a name that has a dot."""

    def step(self, closure: None = None) -> None:
        for parameter in [p for group in self.param_groups for p in group["params"]]:
            self.state[parameter]["a.b"] = torch.zeros(())


def late() -> Any:
    return lambda step, total: 1 / (3 - step)


def at_ten(gives: str) -> Any:
    """Good for as long as a check of ten steps looks."""
    late = {"text": lambda: "1", "nan": lambda: float("nan"), "fault": lambda: [][1]}[gives]
    return lambda step, total: late() if step == 10 else 1.0


class Plainly:
    """A rule that is no dataclass, so that nothing can be replaced in it."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return LastStep().schedule(time_steps, generator)

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        return LastStep(self.criterion)(model, x, target, plan)


class NoPlan:
    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def schedule(self, time_steps: int, generator: torch.Generator) -> int:
        return time_steps


class NoSchedule:
    def __call__(self, *_: Any) -> None:
        return None


def noise(x: Tensor, generator: torch.Generator, *, strength: int = 8) -> Tensor:
    """Pixels moved by up to `strength` levels."""
    moved = x + torch.randint(-strength, strength + 1, x.shape, generator=generator)
    return moved.clamp(0, 255).to(x.dtype)


class Dim:
    """Darker by a share that each image draws, after the normalisation."""

    normalised = True

    def __init__(self, most: float = 0.5) -> None:
        if not 0 < most < 1:
            raise ValueError(f"most = {most}; it must lie between 0 and 1")
        self.most = most

    def __call__(self, x: Tensor) -> Tensor:
        return x * (1 - self.most * torch.rand(()))


def wider(x: Tensor) -> Tensor:
    return torch.cat([x, x], -1)


def as_float(x: Tensor) -> Tensor:
    return x.float()


def as_array(x: Tensor) -> Any:
    return x.numpy()


def fails(x: Tensor) -> Tensor:
    raise KeyError("no such\nimage")


def forgetful(x: Tensor, seen: list[int] | None = None) -> Tensor:
    """Draws from what nobody seeds."""
    return x + random.randrange(1, 100)


def takes_nothing() -> None:
    return None


class Uncallable:
    pass
