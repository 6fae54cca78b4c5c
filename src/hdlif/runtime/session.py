"""Running a deployed network on the compiled runtime, whole sequences or frame by frame."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif._native import Network, instruction_sets
from hdlif.artefact import INPUT, Graph, InputRecord, infer_values, load
from hdlif.errors import ArtefactError, HdlifError
from hdlif.runtime.program import flatten_graph
from hdlif.runtime.state import Array, State, check_frame, check_state, count_steps, potential_shapes

Floats = NDArray[np.float32]
MAX_THREADS = 256


class Session:
    """A deployed network, ready to run.

    Gives the bits of `hdlif.runtime.reference` on every machine and with any number of threads.
    Calls from several Python threads are safe; they wait for each other.
    """

    def __init__(
        self, artefact: str | Path | Graph, threads: int | None = None, *, instructions: str | None = None
    ) -> None:
        """Load a file, or take a graph.

        Args:
            threads: the cores that this process may use, by default.
            instructions: one of `instruction_sets()`; the best that the machine has, by default. All give the same
                bits.
        Raises:
            ArtefactError: the file or the graph breaks the format.
            HdlifError: `threads` is not in 1..256, or the machine has no such instructions.
        """
        threads = min(available_cores(), MAX_THREADS) if threads is None else threads
        if not 1 <= threads <= MAX_THREADS:
            raise HdlifError(f"threads = {threads}; give a number in 1..{MAX_THREADS}")
        available = instruction_sets()
        instructions = available[-1] if instructions is None else instructions
        if instructions not in available:
            raise HdlifError(f"instructions = {instructions!r}; this machine has {', '.join(available)}")
        graph = artefact if isinstance(artefact, Graph) else load(artefact)
        self._values = infer_values(graph)
        self._potential_shapes = potential_shapes(graph, self._values)
        self._names = [INPUT, *(node.name for node in graph.nodes)]
        self._input, self._labels, self._time_steps = graph.input, graph.labels, graph.time_steps
        program = flatten_graph(graph)
        # the unpacked weights may go before the runtime lays out its own
        del graph
        try:
            self._network = Network(
                np.array(program.words, np.int32),
                np.array(program.scalars, np.float32),
                program.buffers,
                threads,
                instructions,
            )
        except ValueError as error:
            raise ArtefactError(f"the compiled runtime refuses the network: {error}") from error

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._labels

    @property
    def input(self) -> InputRecord:
        """What the network takes."""
        return self._input

    @property
    def time_steps(self) -> int:
        """The steps that the network was trained for."""
        return self._time_steps

    @property
    def instructions(self) -> str:
        """The instruction set that it runs on."""
        return self._network.instructions

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and per-step rows in memory; all calls share them."""
        return self._network.weight_bytes

    @property
    def working_bytes(self) -> int:
        """Bytes of working memory that past calls left for the next ones; a call like one before adds none."""
        return self._network.working_bytes

    def run(self, x: Floats, steps: int | None = None) -> Floats:
        """Logits [T, B, classes] of a whole sequence, from the start.

        Args:
            x: normalised input, float32 [T, B, C, H, W], or [1, B, C, H, W] constant over `steps`.
            steps: T; by default the steps of x, or `time_steps` where x has one.
        Raises:
            ShapeError: x has another shape or dtype, or other steps.
        """
        x, logits = self._prepare(x, steps)
        potentials = self._start(x.shape[1])
        self._network.run(x, len(logits), 0, _channels_last(potentials), logits)
        return logits

    def values(self, x: Floats, steps: int | None = None) -> dict[str, Array]:
        """Every value of a run by name, [T, B, C, H, W] or [T, B, C], codes as uint8: to look inside."""
        x, logits = self._prepare(x, steps)
        shapes = [(*logits.shape[:2], *self._values[name].shape) for name in self._names]
        kept = [np.empty(shape, np.float32) for shape in shapes]
        potentials = self._start(x.shape[1])
        self._network.run_and_keep(x, len(logits), 0, _channels_last(potentials), logits, kept)
        is_code = [self._values[name].max_code is not None for name in self._names]
        return {
            name: value.astype(np.uint8) if code else value
            for name, value, code in zip(self._names, kept, is_code, strict=True)
        }

    def stage_seconds(self, x: Floats, steps: int | None = None) -> dict[str, float]:
        """Where the time of a run goes: seconds of each stage, by the name of its first node.

        A stage is what the runtime computes together, such as a convolution with the affine and the neuron behind it.
        """
        x, logits = self._prepare(x, steps)
        seconds = np.zeros(len(self._names) - 1)
        self._network.run(x, len(logits), 0, _channels_last(self._start(x.shape[1])), logits, seconds)
        return {name: float(s) for name, s in zip(self._names[1:], seconds, strict=True) if s > 0}

    def step(
        self, x: Floats, state: Mapping[str, Any] | None = None, *, out: State | None = None
    ) -> tuple[Floats, State]:
        """One time step: logits [B, classes] of the frame x [B, C, H, W], and the next state.

        Args:
            state: the state of the step before; None starts a sequence.
            out: a state that receives the next one; `out=state` updates it in place.
        Raises:
            ShapeError, StateError: `x`, `state` or `out` does not fit the network and the batch.
        """
        check_frame(x, self._input.shape)
        batch = len(x)
        t = 0 if state is None else check_state(state, self._potential_shapes, batch)
        if out is None:
            out = {"t": np.array(0, np.int64), **self._start(batch)}
        else:
            check_state(out, self._potential_shapes, batch)
        for name in self._potential_shapes:
            if state is None:
                out[name][...] = 0
            elif out is not state:
                out[name][...] = state[name]
        potentials = {name: out[name] for name in self._potential_shapes}
        working = _channels_last(potentials)
        logits = np.empty((1, batch, len(self._labels)), np.float32)
        self._network.run(np.ascontiguousarray(x)[None], 1, t, working, logits)
        for potential, result in zip(potentials.values(), working, strict=True):
            if not np.shares_memory(potential, result):
                potential[...] = _channels_first(result)
        out["t"] = np.array(t + 1, np.int64)
        return logits[0], out

    def _prepare(self, x: Floats, steps: int | None) -> tuple[Floats, Floats]:
        """The contiguous input, and room for the logits."""
        steps = count_steps(x, self._input.shape, steps, self._time_steps)
        return np.ascontiguousarray(x), np.empty((steps, x.shape[1], len(self._labels)), np.float32)

    def _start(self, batch: int) -> dict[str, Floats]:
        """Zero potentials. Their memory is channels-last, as the runtime keeps it, so no step copies them."""
        potentials = {}
        for name, (channels, *pixels) in self._potential_shapes.items():
            potentials[name] = _channels_first(np.zeros((batch, *pixels, channels), np.float32))
        return potentials


def probabilities(logits: Floats) -> Floats:
    """Softmax of the mean of the logits so far: [T, B, classes] -> [T, B, classes]; the last row is the answer."""
    counts = np.arange(1, len(logits) + 1, dtype=np.float32)[:, None, None]
    means = np.cumsum(logits, axis=0, dtype=np.float32) / counts
    powers = np.exp(means - means.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _channels_first(array: Array) -> Array:
    return np.moveaxis(array, -1, 1)


def _channels_last(potentials: Mapping[str, Array]) -> list[Array]:
    """Channels-last contiguous arrays: views where the memory is so, else copies."""
    return [np.ascontiguousarray(np.moveaxis(potential, 1, -1)) for potential in potentials.values()]
