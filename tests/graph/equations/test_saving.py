"""What a chunk saves: the minimum cut, and the analysis of steps worked by hand."""

import itertools
from typing import Any

import numpy as np
import torch

from cases import every
from hdlif.functional import Triangle, heaviside
from hdlif.graph.equations import Needs, Saving, Value, trace_written
from hdlif.graph.equations.saving import cheapest_cut


def leads(reads: dict[int, list[int]], sources: set[int], sinks: set[int], cut: set[int]) -> bool:
    """Whether a way from a source to a sink avoids the cut."""
    waiting, seen = [sink for sink in sinks if sink not in cut], set[int]()
    while waiting:
        node = waiting.pop()
        if node in sources:
            return True
        if node not in seen:
            seen.add(node)
            waiting += [read for read in reads[node] if read not in cut]
    return False


@every(seed=range(15))
def test_what_is_cut_is_the_cheapest_by_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 9
    reads = {n: [int(m) for m in range(n) if rng.random() < 0.35] for n in range(count)}
    costs = {n: int(rng.integers(0, 6)) for n in range(count)}
    sources, sinks = set(range(3)), {int(n) for n in rng.integers(2, count, 3)}
    found = cheapest_cut(reads, costs, sources=sources, sinks=sinks)
    assert not leads(reads, sources, sinks, found)
    every = (set(some) for size in range(count + 1) for some in itertools.combinations(range(count), size))
    least = min(sum(costs[n] for n in some) for some in every if not leads(reads, sources, sinks, some))
    assert sum(costs[n] for n in found) == least


def saving(step: Any, states: tuple[str, ...], *, learned: bool, is_one_step: bool = False, rows: int = 2) -> Saving:
    named = {f"row {i}": torch.full((1, 1), 0.5) for i in range(rows)}
    written = trace_written(step, states=states, rows=named)
    needs = Needs(True, (False,) * len(states), (learned,) * len(written.program.rows))
    return Saving(written, needs, is_one_step)


def hd_lif(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    spike = torch.relu(membrane - threshold)
    return spike, membrane - spike


def lif(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    fired = heaviside(membrane - threshold, Triangle())
    return threshold * fired, membrane - threshold * fired


def adaptive(current: Any, potential: Any, raised: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    height = threshold + raised
    spike = torch.relu(membrane - height)
    return spike, torch.where(membrane > height, height, membrane), 0.5 * raised + 0.25 * spike


def test_of_hd_lif_a_bit_is_saved_and_the_potential_where_its_leak_is_learned() -> None:
    # r5 = leak * potential, r6 = r5 + current, r7 = r6 - threshold, then 0 and the surplus
    mask = Value(8, "mask")
    fixed, learned = (saving(hd_lif, ("potential",), learned=one) for one in (False, True))
    assert fixed.kept == (mask,)
    assert learned.kept == (Value(1), mask)
    assert fixed.bytes(5, 100) == -(-500 // 8)
    # v before the chunk and after each step but the last
    assert learned.bytes(5, 100) == 5 * 400 + -(-500 // 8)
    assert learned.bytes(5, 100, itemsize=8) == 5 * 800 + -(-500 // 8)


def test_what_a_step_emits_follows_from_the_argument_that_its_surrogate_reads() -> None:
    fixed, learned = (saving(lif, ("potential",), learned=one) for one in (False, True))
    (argument,) = fixed.kept
    assert fixed.program.line(argument.register) == "r6 = r5 - threshold".replace("threshold", "row 1")
    assert learned.kept == (Value(1), argument)


def test_a_comparison_is_told_by_the_surplus_that_the_step_has() -> None:
    fixed = saving(adaptive, ("potential", "raised"), learned=False)
    assert [value.kind for value in fixed.kept] == ["mask"]
    assert fixed.bytes(1, 8) == 1


def test_a_state_that_is_the_current_is_saved_with_it() -> None:
    def delayed(current: Any, before: Any, first: Any, second: Any) -> Any:
        return first * current + second * before, current

    learned = saving(delayed, ("before",), learned=True)
    assert learned.kept == (Value(0), Value(1))
    # all currents, and the state before the chunk; of a constant current one
    assert learned.bytes(5, 100) == 5 * 400 + 400
    assert learned.bytes(5, 100, is_constant=True) == 400 + 400


def test_no_gradient_saves_nothing_and_one_step_has_no_states_of_its_own() -> None:
    assert saving(hd_lif, ("potential",), learned=False).bytes(3, 8) > 0
    written = saving(hd_lif, ("potential",), learned=False).step
    assert Saving(written, Needs(False, (False,), (False, False))).bytes(3, 8) == 0

    def product(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
        return current * potential, leak * potential + threshold * current

    # Of one step the state has no gradient, and what it is multiplied with is not read.
    assert saving(product, ("potential",), learned=False, is_one_step=True).kept == (Value(1),)
    assert saving(product, ("potential",), learned=False).kept == (Value(0), Value(1))
