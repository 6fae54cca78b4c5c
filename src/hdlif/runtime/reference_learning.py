"""Train deployed networks in plain NumPy, as a slow and simple oracle for faster learners.

All arithmetic is float32, one operation at a time, in the stated order. A step with a target computes the gradients of
the step's cross-entropy (`hdlif.graph.learning`) and adds them up sample by sample. An update uses the mean gradient of
all steps with a target:

    g = sum / (samples of all steps with a target)
    v = momentum · v + g                          a velocity for each tensor; with momentum 0, g itself
    p = p - rate · v                              float weights, shifts, leaks, thresholds
    p = p - rate · s² · v                         scales; s is the scale at the start: its relative change counts
    L = round(L - rate' · 2^f · v / rms(v))       low-bit weights, through a latent L of 16 bits with f fraction bits

`LearningRate` contains the rates. A low-bit weight is the code nearest to its latent, with halves rounded up. A latent
starts at the initial code and may exceed the largest code by at most half a code. The term rms(v) is the root mean
square of v over the tensor. Only updates change the weights.
"""

from collections.abc import Mapping

import numpy as np

from hdlif.graph.artefact import Graph
from hdlif.graph.learning import Level, Place, gradients
from hdlif.graph.ops import OPS
from hdlif.graph.ops.seca import exponential
from hdlif.graph.weights import FRACTION_BITS, LARGEST_WEIGHT, codes_of
from hdlif.runtime import reference
from hdlif.runtime.learning import DEFAULT_RATE, Floats, Held, Learning, LearningRate
from hdlif.runtime.state import Array, State


def softmax(logits: Floats) -> Floats:
    """Return the softmax of logits [B, classes] with the exponential function of docs/contributing/model_format.md.

    The exponentials are summed in class order.
    """
    with np.errstate(invalid="ignore"):
        powers = exponential(logits.max(-1, keepdims=True) - logits)
    total = np.add.accumulate(powers, axis=-1, dtype=np.float32)[..., -1:]
    return (powers / total).astype(np.float32)


class ReferenceLearner(Learning):
    """An oracle for `Learner`, with the same arguments except those for threads, instruction sets and limits."""

    def __init__(
        self,
        graph: Graph,
        level: Level = "classifier",
        *,
        rate: LearningRate = DEFAULT_RATE,
        memory: Mapping[str, Array] | None = None,
    ) -> None:
        super().__init__(graph, level, rate, memory)

    def _begin(self) -> None:
        own = {p: self._nodes[p.node].tensors[p.role] for p in self.places}
        self._sums = {p: np.zeros(tensor.shape, np.float32) for p, tensor in own.items()}
        self._held = {
            place: Held(
                tensor.copy(),
                (tensor.astype(np.int32) << self._fraction(place)).astype(np.int16)
                if tensor.dtype == np.int8
                else None,
                np.zeros(tensor.shape, np.float32) if self.rate.momentum else None,
            )
            for place, tensor in own.items()
        }

    def _run(self, x: Floats, t: int, learns: list[bool], potentials: State, classes: Array | None) -> Floats:
        frames = np.broadcast_to(x, (len(learns), *x.shape[1:]))
        steps = enumerate(zip(frames, learns, strict=True), t)
        return np.stack([self._step(frame, at, potentials, classes if own else None) for at, (frame, own) in steps])

    def _step(self, x: Floats, t: int, potentials: State, classes: Array | None) -> Floats:
        graph, before = self.graph, {name: value.copy() for name, value in potentials.items()}
        values = reference.evaluate(graph, x, potentials, t)
        logits: Floats = values[graph.output].astype(np.float32)
        if classes is None:
            return logits
        of_logits = softmax(logits)
        of_logits[np.arange(len(x)), classes] -= np.float32(1)
        for place, found in gradients(graph, self._needed, values, before, t, of_logits).items():
            if place in self._sums:
                self._add(place, found, t)
        return logits

    def _add(self, place: Place, found: Array, t: int) -> None:
        """Add the gradients of all samples one by one, to row `t` if the tensor has a row per step."""
        total = self._sums[place]
        if not OPS[self._nodes[place.node].op].is_synapse:
            total = total[min(t, len(total) - 1)]
        for sample in found:
            total += sample

    def _update(self) -> bool:
        terms, found = np.float32(self._terms), dict[Place, Held]()
        with np.errstate(all="ignore"):
            for place, total in self._sums.items():
                velocity = total / terms
                if (before := self._held[place].velocities) is not None:
                    velocity = np.float32(self.rate.momentum) * before + velocity
                found[place] = self._moved(place, velocity)
                total[...] = 0
        is_finite = all(np.isfinite(array).all() for held in found.values() for array in held if array is not None)
        if is_finite:
            self._held = found
        return is_finite

    def _moved(self, place: Place, velocity: Floats) -> Held:
        held, kept = self._held[place], velocity if self.rate.momentum else None
        if held.latents is None:
            start = self._nodes[place.node].tensors[place.role]
            unit = start * start if place.role == "scale" else np.float32(1)
            return Held(held.values - np.float32(self.rate.floats) * unit * velocity, None, kept)
        size = np.sqrt(np.add.accumulate((velocity * velocity).ravel())[-1] / np.float32(velocity.size))
        latents = held.latents
        if not np.isfinite(size):
            return Held(np.full_like(velocity, np.inf), None, kept)
        if size > 0:
            fraction, most = self._fraction(place), self._largest(place)
            step = np.float32(self.rate.latents * 2**fraction) * velocity / size
            limit = (most << fraction) + (1 << (fraction - 1)) - 1
            latents = np.clip(np.rint(latents.astype(np.float32) - step), -limit, limit).astype(np.int16)
        return Held(self._codes(place, latents), latents, kept)

    def _codes(self, place: Place, latents: Array) -> Array:
        return codes_of(latents, self._nodes[place.node].attributes["encoding"])

    def _read(self, place: Place) -> Held:
        return Held(*(None if array is None else array.copy() for array in self._held[place]))  # type: ignore[arg-type]

    def _write(self, place: Place, held: Held) -> None:
        values = held.values if held.latents is None else self._codes(place, held.latents)
        self._held[place] = Held(values.copy(), held.latents, held.velocities)

    def _largest(self, place: Place) -> int:
        return LARGEST_WEIGHT[self._nodes[place.node].attributes["encoding"]]

    def _fraction(self, place: Place) -> int:
        return FRACTION_BITS[self._largest(place)]
