"""The cheapest nodes of a graph without which nothing leads from its sources to its sinks: a minimum vertex cut."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def cheapest_cut(
    reads: Mapping[Node, Iterable[Node]], costs: Mapping[Node, int], *, sources: Iterable[Node], sinks: Iterable[Node]
) -> set[Node]:
    """The nodes of least cost that are on every way from a source to a sink; of several such sets, that nearest a sink.

    By augmenting paths (Ford and Fulkerson 1956; the shortest ones, Edmonds and Karp 1972) in the graph where a node is
    an edge of its cost: what can still reach a sink at the end is behind the cut. Sources and sinks may be cut as well.

    Args:
        reads: what each node reads.
        costs: of each node, 0 or more.
    """
    # Each node is an edge from its way in (False) to its way out (True), and None is what all sinks lead to.
    left: dict[object, dict[object, float]] = {}

    def connect(a: object, b: object, capacity: float) -> None:
        left.setdefault(a, {})[b] = capacity
        left.setdefault(b, {}).setdefault(a, 0)

    for node, cost in costs.items():
        connect((node, False), (node, True), cost)
        for read in reads.get(node, ()):
            connect((read, True), (node, False), float("inf"))
    for sink in sinks:
        connect((sink, True), None, float("inf"))
    starts = [(node, False) for node in sources]
    while (path := _path(left, starts)) is not None:
        flow = min(left[a][b] for a, b in path)
        for a, b in path:
            left[a][b] -= flow
            left[b][a] += flow
    behind = _reaching(left, None)
    return {node for node in costs if (node, True) in behind and (node, False) not in behind}


def _path(
    left: Mapping[object, Mapping[object, float]], starts: Iterable[object]
) -> list[tuple[object, object]] | None:
    """The edges of a shortest way with something left from a start to None."""
    before: dict[object, object] = {start: start for start in starts}
    waiting = deque(before)
    while waiting:
        a = waiting.popleft()
        for b, capacity in left.get(a, {}).items():
            if capacity > 0 and b not in before:
                before[b] = a
                waiting.append(b)
    if None not in before:
        return None
    path: list[tuple[object, object]] = []
    node: object = None
    while before[node] != node:
        path.append((before[node], node))
        node = before[node]
    return path


def _reaching(left: Mapping[object, Mapping[object, float]], end: object) -> set[object]:
    """What a way with something left leads from to `end`."""
    found, waiting = {end}, deque([end])
    while waiting:
        b = waiting.popleft()
        for a in left.get(b, {}):
            if a not in found and left[a][b] > 0:
                found.add(a)
                waiting.append(a)
    return found
