"""Run deployed networks on the compiled runtime, over complete sequences or frame by frame."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from hdlif._native import Network, instruction_sets
from hdlif.errors import HdlifError, LimitError, brief
from hdlif.graph.artefact import Graph, Value, dumps
from hdlif.graph.artefact.files import read_content
from hdlif.graph.artefact.statements import read_fields
from hdlif.runtime.early import Early, choose_confidence, run_until_sure
from hdlif.runtime.limits import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_OPERATIONS,
    MAX_THREADS,
    OPTIONS,
    available_cores,
    memory_errors_are_ours,
)
from hdlif.runtime.sequence import Sequence
from hdlif.runtime.state import (
    INTERRUPTED,
    Array,
    State,
    channels_first,
    channels_last,
    check_frame,
    check_out,
    check_state,
    contiguous,
    count_steps,
    is_integer,
)

Floats = NDArray[np.float32]
_FLOAT32 = np.dtype(np.float32)
_MOST_GRANTED = 64


class Session:
    """A deployed network that is ready for inference.

    Outputs are bit-identical to `hdlif.runtime.reference`, on every machine and with any number of threads. Calls from
    several Python threads are safe and run concurrently. After a fork, the child process can use the session with new
    threads.

    During a call from the main thread, Python handles signals every 0.05 s. An exception in a signal handler, such as
    KeyboardInterrupt, ends the call, and the session remains usable.

    You usually load a model file with `Session("net.hdlif.safetensors")`. A graph works too:

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> from hdlif.runtime import Session, probabilities
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> session, x = Session(graph, threads=1), np.zeros((3, 1, 2, 1, 1), np.float32)
    >>> x[1:, :, 1] = 1
    >>> logits = session.run(x)
    >>> logits[:, 0].tolist()
    [[0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> int(probabilities(logits)[-1, 0].argmax())
    1

    You can also run a network step by step with an explicit state, or in a sequence that keeps the state:

    >>> state = None
    >>> for frame in x:
    ...     step, state = session.step(frame, state)
    >>> sequence = session.sequence()
    >>> [sequence.step(frame)[0].tolist() for frame in x][-1] == step[0].tolist() == logits[-1, 0].tolist()
    True

    Attributes:
        input, task, time_steps: the network's input, the meaning of its outputs, and its number of time steps in
            training.
        labels: names of the outputs, which are classes unless the task defines others.
        output_shape: shape of a step's outputs: [labels], or [labels, H, W] for a class per pixel.
        confidence: the file's confidence for early exit, or None.
        digest: SHA-256 digest in the network's file, in hexadecimal.
        instructions: instruction set in use.
    """

    @memory_errors_are_ours
    def __init__(
        self,
        artefact: str | Path | Graph,
        threads: int | None = None,
        *,
        instructions: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_operations: int = DEFAULT_MAX_OPERATIONS,
    ) -> None:
        """Load a model file or a graph.

        Memory and operations are limited, because even a small model file may require terabytes of memory or hours of
        time. The constructor checks the limits for one image over the network's time steps, and each call checks the
        limits for the input. An operation is a product in a convolution or a linear layer, including products with
        zero. To reflect run time, any other op counts as at least 8 operations per entry, and each row of a map counts
        as 512 operations. One core performs 10^9 to 10^11 operations per second.

        Args:
            artefact: path of a model file, or a graph.
            threads: number of threads; default: the cores that this process may use.
            instructions: one of `instruction_sets()`; default: the value of the environment variable
                `HDLIF_INSTRUCTIONS`, or the best set of the machine. All give the same bits.
            max_bytes: limit for weights, working memory, potentials and results of a call, without its input and
                concurrent calls.
            max_operations: limit for the operations of a call.
        Raises:
            ArtefactError: the file or the graph violates the format.
            LimitError: one image exceeds a limit.
            AllocationError: out of memory.
            HdlifError: `threads` is not in 1..256, a limit is not an integer of at least 1, or the machine lacks the
                instructions.
        """
        threads = min(available_cores(), MAX_THREADS) if threads is None else threads
        if not is_integer(threads) or not 1 <= threads <= MAX_THREADS:
            raise HdlifError(f"threads = {brief(threads)}; give an integer in 1..{MAX_THREADS}")
        for key, limit in (("max_bytes", max_bytes), ("max_operations", max_operations)):
            if not is_integer(limit) or limit < 1:
                raise HdlifError(f"{key} = {brief(limit)}; give an integer of at least 1")
        self._max_bytes, self._max_operations = int(max_bytes), int(max_operations)
        self._name = "the graph" if isinstance(artefact, Graph) else str(artefact)
        available = instruction_sets()
        if instructions is None:
            instructions = os.environ.get("HDLIF_INSTRUCTIONS") or available[-1]
        if instructions not in available:
            raise HdlifError(f"instructions = {instructions!r}; this machine has {', '.join(available)}")
        content = dumps(artefact) if isinstance(artefact, Graph) else read_content(artefact)
        limits = min(self._max_bytes, 2**63 - 1), min(self._max_operations, 2**63 - 1)
        with self._naming():
            self._network = Network(content, int(threads), instructions, *limits)
        self.digest, self.instructions = self._network.digest, self._network.instructions
        record = json.loads(self._network.graph)
        self.input, self.labels, self.task, self.time_steps = read_fields(record)
        self.confidence: float | None = record.get("confidence")
        self._values = {
            name: Value(tuple(shape), most or None, constant) for name, shape, most, constant in self._network.values
        }
        self._names = list(self._values)
        self.output_shape = self._values[record["output"]].shape
        self._potential_shapes = {state: self._values[self._names[i]].shape for state, i in self._network.states}
        # shapes and steps of calls that passed the checks
        self._granted: dict[Any, int] = {}

    @property
    def passes(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return each kernel that runs fused nodes, together with the names of these nodes.

        Each of the kernels "hd_lif", "parallel" and "lif" runs a single equation. The kernel "fire" runs HD-LIF or
        Parallel HD-LIF together with an affine op, an addition and a quantiser. "equation" runs any equation.
        """
        names = self._names[1:]
        return [(kernel, tuple(names[n] for n in nodes)) for kernel, nodes in self._network.passes]

    @property
    def weight_bytes(self) -> int:
        """Return the size in bytes of the weights and of the parameters that vary per step, which all calls share."""
        return self._network.weight_bytes

    @property
    def working_bytes(self) -> int:
        """Return the size in bytes of the working memory that the session keeps for later calls."""
        return self._network.working_bytes

    @overload
    def run(self, x: Floats, steps: int | None = None) -> Floats: ...
    @overload
    def run(self, x: Floats, steps: int | None = None, *, confidence: float | Literal["auto"]) -> Early: ...
    @memory_errors_are_ours
    def run(
        self, x: Floats, steps: int | None = None, *, confidence: float | Literal["auto"] | None = None
    ) -> Floats | Early:
        """Run a sequence, and return logits [T, B, *output_shape] or early-exit predictions.

        Args:
            x: normalised input, float32 [T, B, C, H, W], or [1, B, C, H, W] constant over `steps`.
            steps: T; default: the steps of x, or `time_steps` if x has one step.
            confidence: probability in 0..1 of the predicted class at which a sample stops (`Early`), or "auto" for the
                file's confidence.
        Raises:
            ShapeError: x has another shape or dtype, or other steps.
            HdlifError: the confidence is not a number in 0..1, the file has none, or the task is not classification.
            LimitError, AllocationError: the call exceeds a limit, or the available memory.
        """
        least = None if confidence is None else choose_confidence(confidence, self.confidence, self.task)
        if least is None:
            x, logits = self._prepare(x, steps)
            self._network.run(x, len(logits), 0, None, logits)
            return logits
        # Between chunks the states of the entire batch are in memory.
        x, logits = self._prepare(x, steps, gives_state=True)
        shapes, last = self._potential_shapes.values(), self.task.combine == "last"
        return run_until_sure(self._network.run, x, len(logits), len(self.labels), shapes, last=last, confidence=least)

    @memory_errors_are_ours
    def values(self, x: Floats, steps: int | None = None) -> dict[str, Array]:
        """Run a sequence, and return each node's value by name, [T, B, C, H, W] or [T, B, C]; codes are uint8."""
        x, logits = self._prepare(x, steps, keeps_all=True)
        shapes = [(*logits.shape[:2], *self._values[name].shape) for name in self._names]
        kept = [np.empty(shape, np.float32) for shape in shapes]
        self._network.run_values(x, len(logits), logits, kept)
        is_code = [self._values[name].max_code is not None for name in self._names]
        return {
            name: value.astype(np.uint8) if code else value
            for name, value, code in zip(self._names, kept, is_code, strict=True)
        }

    @memory_errors_are_ours
    def stage_seconds(self, x: Floats, steps: int | None = None) -> dict[str, float]:
        """Profile a run, and return the seconds that each stage takes, keyed by the name of the stage's first node.

        A stage contains nodes that the runtime computes together, such as a convolution, an affine op and a neuron.
        """
        x, logits = self._prepare(x, steps)
        seconds = np.zeros(len(self._names) - 1)
        self._network.run(x, len(logits), 0, None, logits, seconds)
        return {name: float(s) for name, s in zip(self._names[1:], seconds, strict=True) if s > 0}

    @memory_errors_are_ours
    def step(
        self, x: Floats, state: Mapping[str, Any] | None = None, *, out: State | None = None
    ) -> tuple[Floats, State]:
        """Run one time step on x [B, C, H, W], and return logits [B, *output_shape] and the next state.

        Args:
            state: state after the previous step; None starts a sequence.
            out: state that receives the next state; `out=state` updates it in place. Its arrays must be writable and
                must not share memory with each other, with `x`, or with entries of `state` that have other names. An
                interrupted call invalidates it: its `t` is -1, and all calls reject it.
        Raises:
            ShapeError, StateError: `x`, `state` or `out` does not fit the network and the batch.
            LimitError, AllocationError: the call exceeds a limit, or the available memory.
        """
        check_frame(x, self.input.shape)
        batch = len(x)
        t = 0 if state is None else check_state(state, self._potential_shapes, batch)
        if ("step", batch) not in self._granted:
            self._check_limits(batch, 1, is_static=False, gives_state=True)
            self._grant(("step", batch), 1)
        if out is None:
            out = {"t": np.array(0, np.int64), **self._start(batch)}
        else:
            check_state(out, self._potential_shapes, batch)
            check_out(out, state, x, self._potential_shapes)
        # the state is invalid until it is completely written
        out["t"] = INTERRUPTED
        for name in self._potential_shapes:
            if state is None:
                out[name][...] = 0
            elif out is not state:
                out[name][...] = state[name]
        potentials = {name: out[name] for name in self._potential_shapes}
        try:
            working = channels_last(potentials)
            logits = np.empty((1, batch, *self.output_shape), np.float32)
            frame = contiguous(x)[None]
            self._network.run(frame, 1, t, working, logits)
        except MemoryError:
            # nothing has been computed
            out["t"] = np.array(t, np.int64)
            raise
        for potential, result in zip(potentials.values(), working, strict=True):
            if not np.shares_memory(potential, result):
                potential[...] = channels_first(result)
        out["t"] = np.array(t + 1, np.int64)
        return logits[0], out

    @memory_errors_are_ours
    def sequence(self, batch: int = 1, state: Mapping[str, Any] | None = None) -> Sequence:
        """Start a sequence that keeps its state between calls, which is the fastest way to run frame by frame.

        Args:
            state: state with this batch size to continue from; None starts a new sequence.
        Raises:
            HdlifError: batch is not an integer of at least 1.
            StateError: `state` does not fit the network and the batch.
            LimitError, AllocationError: a step or the state exceeds a limit, or the available memory.
        """
        if not is_integer(batch) or batch < 1:
            raise HdlifError(f"batch = {brief(batch)}; it must be an integer of at least 1")
        self._check_limits(batch, 1, is_static=False, gives_state=True)
        if (held := batch * self.sequence_bytes) > self._max_bytes:
            raise LimitError(
                f"{self._name}: {batch} sequences hold {held:,} bytes; max_bytes = {self._max_bytes:,}; give fewer at "
                f"once or, if you trust the network, a larger max_bytes{OPTIONS['max_bytes']}"
            )
        with self._naming():
            sequence = Sequence(self._network, (batch, *self.input.shape), self.output_shape, self._potential_shapes)
        if state is not None:
            sequence.resume(state)
        return sequence

    def check_steps(self, steps: int) -> None:
        """Raise `LimitError` if `steps` steps of a `sequence` with batch 1 exceed the limit on operations."""
        _, each = self._cost(1, 1, False, False, False)
        if steps * each > self._max_operations:
            raise LimitError(
                f"{self._name}: {steps:,} time steps take {steps * each:,} operations; max_operations = "
                f"{self._max_operations:,}; give fewer at once or, if you trust the network, a larger "
                f"max_operations{OPTIONS['max_operations']}"
            )

    def check_batch(self, batch: int) -> None:
        """Raise `LimitError` if one step for `batch` samples exceeds a limit while keeping every node's value."""
        self._check_limits(batch, 1, is_static=False, keeps_all=True, gives_state=True)

    @property
    def sequence_bytes(self) -> int:
        """Return the size in bytes of the state and the delay lines of a `sequence` with batch 1."""
        return self._network.sequence_bytes

    @property
    def state_bytes(self) -> int:
        """Return the size in bytes of the state of one sequence."""
        return 4 * sum(map(math.prod, self._potential_shapes.values()))

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of each state entry except `t`; shapes omit the batch axis."""
        return dict(self._potential_shapes)

    @property
    def max_bytes(self) -> int:
        """Return the memory limit of a call in bytes."""
        return self._max_bytes

    def _prepare(self, x: Floats, steps: int | None, **call: bool) -> tuple[Floats, Floats]:
        """Check the input, and return a contiguous input array and an array for the logits."""
        is_plain = type(x) is np.ndarray and x.dtype is _FLOAT32 and (steps is None or type(steps) is int)
        key = (x.shape, steps, *call.items()) if is_plain else None
        count = self._granted.get(key)
        if count is None:
            count = count_steps(x, self.input.shape, steps, self.time_steps)
            self._check_limits(x.shape[1], count, is_static=len(x) < count, **call)
            if key is not None:
                self._grant(key, count)
        return contiguous(x), np.empty((count, x.shape[1], *self.output_shape), np.float32)

    def _grant(self, call: Any, steps: int) -> None:
        if len(self._granted) >= _MOST_GRANTED:
            self._granted.clear()
        self._granted[call] = steps

    def _check_limits(self, batch: int, steps: int, **call: bool) -> None:
        """Raise `LimitError` if a call with `batch` images over `steps` time steps exceeds a limit."""
        with self._naming():
            self._network.check(batch, steps, **call)

    def _cost(self, batch: int, steps: int, *call: bool) -> tuple[int, int]:
        """Return how many bytes of memory and how many operations a run takes."""
        work_bytes, operations = self._network.cost(batch, steps, *call)
        return work_bytes, int(operations)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Add to errors the network's name and, if a limit is exceeded, the command-line option to increase it."""
        try:
            yield
        except HdlifError as error:
            found = [text for limit, text in OPTIONS.items() if isinstance(error, LimitError) and limit in str(error)]
            raise type(error)(f"{self._name}: {error}{''.join(found[:1])}") from error

    def _start(self, batch: int) -> dict[str, Floats]:
        """Return zero potentials in the channels-last layout of the runtime."""
        shapes = self._potential_shapes.items()
        return {n: channels_first(np.zeros((batch, *pixels, c), np.float32)) for n, (c, *pixels) in shapes}
