"""Continued training of the classifier in fixed point, as the reference for C code without floating-point numbers.

All arithmetic uses integers. The classifier is a linear layer that has float32 weights and reads codes, optionally
followed by an `affine` op. Training updates the weights W (16 bits) and the shifts b of the `affine` op (32 bits), but
not the scales s.

    g = p - [k = target]        gradient of the cross-entropy, in units of 2^-15; p = softmax(logits)
    G = G + g · x               sums of gradients, saturated at ±2^30; x = 1 for the shifts
    W = W - round(G · rate · s / samples)
    b = b - round(G · rate / samples)

The learning rate has 16 fraction bits. Factors such as s have up to 15 bits. An update multiplies in 64 bits and rounds
once, with halves rounded up. Weights and shifts saturate at limits that keep all sums within 32 bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.fixed.fixed_point import LARGEST_TOTAL, FixedPoint
from hdlif.deploy.c.fixed.values import ADDEND_BITS, LARGEST, IntegerArray, fraction_of_factors, integers_of
from hdlif.errors import HdlifError, StateError, brief
from hdlif.graph.graph import Graph, Node
from hdlif.graph.learning import Place, trained
from hdlif.runtime.learning import with_learned

GRADIENT_BITS = 15
"""Fraction bits of probabilities and of the gradient of the logits."""
RATE_BITS = 16
"""Fraction bits of the learning rate."""
LOG2_E = round(np.log2(np.e) * 2**14)
POWERS = (22663, 7568, 1289)
"""Coefficients of 2^-r = 1 - a·r + b·r² - c·r³ for r in 0..1, with 15 fraction bits; the error is below 1.1e-4."""
MOST_FRACTION = 16
"""Most fraction bits of the differences of logits."""
LARGEST_SUM = 2**30
_MOST_DROP = 30


@dataclass(frozen=True)
class Trained:
    """A trained tensor in fixed point.

    Attributes:
        start: the integers of the exported network, [K, J] or [1, K].
        fraction: their fraction bits.
        largest: their largest magnitude.
        factors: for each class, a factor of up to 15 bits that scales the update.
        drop: fraction bits of the factors, relative to the trained integers.
    """

    place: Place
    start: IntegerArray
    fraction: int
    largest: int
    factors: IntegerArray
    drop: int


def trained_integers(fixed: FixedPoint) -> tuple[Trained, ...]:
    """Return the classifier's weights, followed by the shifts of an `affine` op after the classifier, if any.

    Raises:
        HdlifError: the network has no classifier that can be trained in fixed point.
    """
    nodes = {node.name: node for node in fixed.nodes}
    layer, *after = (nodes[name] for name in dict.fromkeys(place.node for place in trained(fixed.graph, "classifier")))
    most = fixed.values[layer.inputs[0]].max_code
    if layer.op != "linear" or layer.attributes["encoding"] != "float32" or most is None:
        raise HdlifError(
            f"{layer.name}: fixed point trains only a linear layer with float32 weights after quantised spikes; export "
            'it in float, or train it with --set "spikes={kind: quantised, bits: 4}" and no pool before this layer'
        )
    shape = (1, len(layer.tensors["weight"]))
    if [node.op for node in after] not in ([], ["affine"]) or any(n.tensors["shift"].shape != shape for n in after):
        raise HdlifError(
            f"{layer.name}: fixed point trains a classifier with at most an affine after it, the same at every step; "
            "export it in float"
        )
    weight, fraction = fixed.weights(layer)
    largest = min(LARGEST, LARGEST_TOTAL // (weight.shape[1] * most))
    if np.abs(weight).max(initial=0) > largest:
        raise HdlifError(f"{layer.name}: its sums could exceed 32 bits during training; export it in float")
    scales = np.ones(len(weight)) if not after else np.broadcast_to(after[0].tensors["scale"][0], len(weight))
    found = [_trained(layer, "weight", weight, fraction, largest, scales.astype(np.float64))]
    for node in after:
        rows = fixed.rows(node, fixed.fractions[node.inputs[0]])
        found.append(_trained(node, "shift", rows.shift, rows.fraction, 2**ADDEND_BITS - 1, np.ones(len(weight))))
    return tuple(found)


def _trained(
    node: Node, role: str, start: IntegerArray, fraction: int, largest: int, scales: NDArray[np.float64]
) -> Trained:
    factors = scales * 2.0 ** (fraction - GRADIENT_BITS - RATE_BITS)
    drop = min(max(fraction_of_factors(factors, 15), 0), _MOST_DROP)
    limited = np.clip(integers_of(factors, drop), -LARGEST, LARGEST)
    return Trained(Place(node.name, role), start, fraction, largest, limited, drop)


def gradient_of_loss(logits: IntegerArray, fraction: int, targets: IntegerArray) -> IntegerArray:
    """Return the gradient of the cross-entropy for logits [B, K], with 15 fraction bits."""
    below = logits.max(-1, keepdims=True) - logits
    drop, bits = exponent_format(fraction)
    product = (below >> drop) * LOG2_E
    rest = product & ((1 << bits) - 1)
    r = rest >> (bits - 15) if bits >= 15 else rest << (15 - bits)
    a, b, c = POWERS
    power = 2**15 - (r * (a - (r * (b - (r * c >> 15)) >> 15)) >> 15)
    powers = power >> np.minimum(product >> bits, 16)
    total = powers.sum(-1, keepdims=True)
    found: IntegerArray = (powers * 2**GRADIENT_BITS + total // 2) // total
    found[np.arange(len(targets)), targets] -= 2**GRADIENT_BITS
    return found


def exponent_format(fraction: int) -> tuple[int, int]:
    """Return the number of bits to drop from logit differences, and the fraction bits of the products with log2(e)."""
    drop = max(fraction - MOST_FRACTION, 0)
    return drop, max(fraction - drop + 14, 0)


class FixedLearner:
    """A fixed-point network whose classifier continues to learn.

    >>> import numpy as np
    >>> from hdlif.deploy.c import FixedLearner, fixed_point
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> weight = np.zeros((2, 2), np.float32)
    >>> step = {"inverse_step": np.ones((1, 1), np.float32)}
    >>> codes = Node("quantise", "codes", ("input",), {"bits": 4, "offset": 0.5}, step)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((codes, Node("flatten", "flat", ("codes",)), layer), "logits", 1, record, ("still", "moving"))
    >>> x = np.ones((1, 1, 2, 1, 1), np.float32)
    >>> learner = FixedLearner(fixed_point(graph, x, steps=1), rate=0.5)
    >>> logits = learner.learn(x, [1])
    >>> learner.graph.nodes[2].tensors["weight"].tolist()
    [[-0.25, -0.25], [0.25, 0.25]]

    Args:
        fixed: the network in fixed point.
        rate: learning rate, from 0 to 1.
        memory: memory of an earlier learner, or of a device (`hdlif.deploy.c.learning.Learning.memory`), to continue.
    Raises:
        HdlifError: the network cannot be trained in fixed point, or the rate is out of range.
        StateError: `memory` belongs to another network.
    Attributes:
        tensors: the trained tensors at the start.
        updates: number of updates so far.
    """

    def __init__(
        self, fixed: FixedPoint, *, rate: float = 0.01, memory: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        if not 0 <= rate <= 1:
            raise HdlifError(f"rate = {rate}; give a number in 0..1 in fixed point")
        self.rate, self.updates, self.tensors = round(rate * 2**RATE_BITS), 0, trained_integers(fixed)
        self._now = {one.place: one.start.copy() for one in self.tensors}
        if memory is not None:
            if {k: v.shape for k, v in self.memory.items()} != {k: v.shape for k, v in memory.items()}:
                raise StateError(
                    f"the memory has {brief(sorted(memory))}, but this network {brief(sorted(self.memory))}"
                )
            self.updates = int(memory["updates"])
            self._now = {place: memory[place.key].astype(np.int64) for place in self._now}
        self._fixed = replace(fixed, trained=self._now)
        self._input = next(node for node in fixed.nodes if node.name == self.tensors[0].place.node).inputs[0]

    def learn(self, x: NDArray[np.float32], targets: Sequence[int]) -> IntegerArray:
        """Run sequences from the initial state, sum the gradients of all steps, update once, and return the logits [T,
        B, K].

        Args:
            x: frames [T, B, C, H, W], or [1, B, C, H, W] shown at every step.
            targets: class of each sequence.
        """
        graph, frames, classes = self._fixed.graph, self._fixed.frame(x), np.asarray(targets, np.int64)
        if classes.shape != frames.shape[1:2] or not ((classes >= 0) & (classes < len(graph.labels))).all():
            raise HdlifError(f"targets = {targets}; give a class from 0 to {len(graph.labels) - 1} for each sequence")
        steps = len(frames) if len(frames) > 1 else graph.time_steps
        sums = {place: np.zeros_like(start) for place, start in self._now.items()}
        state: dict[str, IntegerArray] = {}
        found = [self._step(frames[t % len(frames)], state, t, classes, sums) for t in range(steps)]
        for one in self.tensors:
            by = sums[one.place] * self.rate * (one.factors if len(one.start) == 1 else one.factors[:, None])
            unit = len(classes) * steps << one.drop
            self._now[one.place][...] = np.clip(
                self._now[one.place] - (by + unit // 2) // unit, -one.largest, one.largest
            )
        self.updates += 1
        return np.stack(found)

    def _step(
        self,
        frame: IntegerArray,
        state: dict[str, IntegerArray],
        t: int,
        classes: IntegerArray,
        sums: Mapping[Place, IntegerArray],
    ) -> IntegerArray:
        values, output = self._fixed.step(frame, state, t), self._fixed.graph.output
        logits, x = np.asarray(values[output].integer), np.asarray(values[self._input].integer)
        gradient = gradient_of_loss(logits, self._fixed.fractions[output], classes)
        for g, codes in zip(gradient, x, strict=True):
            for place, total in sums.items():
                total += np.outer(g, codes) if place.role == "weight" else g
                np.clip(total, -LARGEST_SUM, LARGEST_SUM, out=total)
        return logits

    def run(self, x: NDArray[np.float32]) -> IntegerArray:
        """Return the current network's logits [T, B, K] for frames `x`, whose shapes are the same as in `learn`."""
        return self._fixed.run(self._fixed.frame(x), len(x) if len(x) > 1 else self._fixed.graph.time_steps)

    @property
    def memory(self) -> dict[str, IntegerArray]:
        """Return the trained integers and the number of updates."""
        return {"updates": np.array(self.updates), **{place.key: now.copy() for place, now in self._now.items()}}

    @property
    def graph(self) -> Graph:
        """Return the float32 graph with the trained values and a record of the original graph."""
        graph = self._fixed.graph
        if self.updates == 0:
            return graph
        values = {one.place: (self._now[one.place] * 2.0**-one.fraction).astype(np.float32) for one in self.tensors}
        return with_learned(graph, values, "classifier", self.updates)
