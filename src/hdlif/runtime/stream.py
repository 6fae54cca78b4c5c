"""One sequence on the compiled runtime, which keeps its state from call to call."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hdlif import _native
from hdlif.errors import HdlifError, ShapeError, StateError
from hdlif.runtime.state import Array, State, check_state

Floats = NDArray[np.float32]


class Stream:
    """One sequence, as it comes in: `Session.stream` begins one.

    Gives the bits of `Session.step`, and of `Session.run` from the start, in any pieces. What the network holds stays
    in the runtime, so that a step costs little beside the network's own work: nothing is checked but the frame's
    shape, and no state is copied. `state` gives it away, as `Session.step` and `Session.stream` take it.

    One call at a time; several streams of a session may be used from several threads.
    """

    def __init__(
        self, network: _native.Network, shape: tuple[int, ...], outputs: int, states: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._stream = _native.Stream(network)
        self._shape, self._outputs, self.shapes = shape, outputs, dict(states)
        """Of what it holds: the state's entries without batch."""

    @property
    def t(self) -> int:
        """The steps that it has seen."""
        return self._stream.t

    def step(self, x: Floats) -> Floats:
        """Logits [classes] of the next frame, float32 [C, H, W].

        Raises:
            ShapeError: x has another shape or dtype.
            StateError: a call before was interrupted.
            HdlifError: another thread is within a call.
        """
        logits = np.empty(self._outputs, np.float32)
        if getattr(x, "shape", None) != self._shape:
            raise self._refusal(x)
        self._advance(x, logits)
        return logits

    def run(self, x: Floats) -> Floats:
        """Logits [K, classes] of the next K frames, float32 [K, C, H, W]; raises as `step`."""
        if getattr(x, "shape", (0,))[1:] != self._shape or not len(x):
            raise self._refusal(x)
        logits = np.empty((len(x), self._outputs), np.float32)
        self._advance(x, logits)
        return logits

    @property
    def state(self) -> State:
        """What it holds, as the state of `Session.step` with a batch of one."""
        self._check_held()
        last = [np.empty((1, *shape[1:], shape[0]), np.float32) for shape in self.shapes.values()]
        try:
            self._stream.give(last)
        except RuntimeError as error:
            raise _busy() from error
        held = {name: np.moveaxis(array, -1, 1) for name, array in zip(self.shapes, last, strict=True)}
        return {"t": np.array(self.t, np.int64), **held}

    def resume(self, state: Mapping[str, Array]) -> None:
        """Go on from a state of this network with a batch of one; raises `StateError` where it is none."""
        t = check_state(state, self.shapes, 1)
        last = [np.ascontiguousarray(np.moveaxis(state[name], 1, -1)) for name in self.shapes]
        try:
            self._stream.take(last, t)
        except RuntimeError as error:
            raise _busy() from error

    def _advance(self, x: Floats, logits: Floats) -> None:
        try:
            self._stream.advance(x, logits)
        except TypeError:
            if not isinstance(x, np.ndarray) or x.dtype != np.float32:
                raise self._refusal(x) from None
            # its entries lie elsewhere than in C order
            self._stream.advance(x.copy(order="C"), logits)
        except ValueError:
            self._check_held()
            raise
        except _native.InterruptedError as error:
            raise HdlifError(
                "a signal's handler forked this process within a run, which ends so in the child"
            ) from error
        except RuntimeError as error:
            raise _busy() from error

    def _check_held(self) -> None:
        if self._stream.t < 0:
            raise StateError("a call of this stream was interrupted, and what it holds is lost; begin another")

    def _refusal(self, x: object) -> ShapeError:
        seen = f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__
        shape = ", ".join(map(str, self._shape))
        return ShapeError(f"x is {seen}; a stream's step takes a float32 array [{shape}], and its run [K, {shape}]")


def _busy() -> HdlifError:
    return HdlifError("another thread is within a call of this stream; give each sequence a stream of its own")
