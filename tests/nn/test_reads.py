"""A module may state what each child reads, in place of the ways through it."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.errors import TrainingError
from hdlif.learning import OTTT
from hdlif.learning.paths import remembered
from hdlif.nn import HDLIF, LIF, ParallelHDLIF, Scope, Temporal

T = 2


class ByWays(Temporal):
    """x -> a -> neuron -> (b -> second, + c) -> out, where c also reads x."""

    paths = (
        ("a", "act", "b", "second", "out"),
        ("a", "act", "c", "out"),
        ("c", "out"),
    )

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = (nn.Linear(3, 3) for _ in range(4))
        self.act, self.second = LIF(T), second

    def forward(self, x: Tensor, state: Any = None, steps: Any = range(T)) -> Any:
        run = Scope(self, state, steps)
        h = run("act", run("a", x))
        return run("out", run("second", run("b", h)) + run("c", h + x)), run.state


class ByReads(ByWays):
    reads: ClassVar[Any] = {
        "a": [""],
        "act": ["a"],
        "b": ["act"],
        "second": ["b"],
        "c": ["act", ""],
        "out": ["second", "c"],
        "": ["out"],
    }
    paths = None


@every(second=[HDLIF(T), ParallelHDLIF(T)])
def test_both_forms_find_the_same_synapses(second: nn.Module) -> None:
    found = list(remembered(ByReads(second)))
    assert found == list(remembered(ByWays(second)))
    assert found == (["a", "b"] if isinstance(second, HDLIF) else ["a"])
    # In front of a neuron, the last layer and what goes around the second matter too.
    behind = nn.Sequential(ByReads(second), LIF(T))
    assert list(remembered(behind)) == list(remembered(nn.Sequential(ByWays(second), LIF(T))))
    assert {"0.c", "0.out"} <= set(remembered(behind))


def run_ottt(network: nn.Module) -> list[Tensor]:
    rule = OTTT()
    x, target = torch.randn(T, 4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    for step in rule(network, x, target, rule.schedule(T, torch.Generator())):
        step.loss.backward()
    return [value.grad for value in network.parameters()]


@every(
    "reads",
    "words",
    of=[
        ({**ByReads.reads, "b": [""]}, "runs 'b' on what 'act' gave, and on none of Wrong.paths does 'b' follow 'act'"),
        ({"a": [""], "act": ["a"], "": ["act"]}, "paths leaves out 'b', 'c', 'out', 'second'"),
        ({**ByReads.reads, "d": ["a"]}, "names 'd', which is not a child of it"),
    ],
)
def test_what_is_stated_is_checked(reads: Any, words: str) -> None:
    wrong = type("Wrong", (ByReads,), {"reads": reads})
    with pytest.raises(TrainingError, match=words):
        run_ottt(wrong(HDLIF(T)))
