"""Run sequences on the compiled runtime, which keeps the state between calls."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hdlif import _native
from hdlif.errors import ShapeError, StateError
from hdlif.runtime.state import Array, State, check_state, described

Floats = NDArray[np.float32]


class Sequence:
    """A running sequence, started by `Session.sequence`.

    However you split an input into calls, the outputs are bit-identical to those of `Session.run` on the complete
    input. A step has little overhead, because the state stays in the runtime and hdlif checks only shapes. `state`
    returns the state in the format of `Session.step` and `Session.sequence`.

    Only one thread at a time may call a sequence. Different threads can use different sequences of one session.
    """

    def __init__(
        self,
        network: _native.Network,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        states: Mapping[str, tuple[int, ...]],
    ) -> None:
        batch = shape[0]
        self._shape, self._outputs, self._states = shape, outputs, states
        # one batch of one per image, because the runtime stores the state image by image
        self._parts = [_native.Sequence(network) for _ in range(batch)]
        self._only = self._parts[0] if batch == 1 else None

    @property
    def t(self) -> int:
        """Return the number of steps that have run."""
        return self._parts[0].t

    def step(self, x: Floats) -> Floats:
        """Run one step on the next frame, float32 [B, C, H, W], and return logits [B, *output_shape].

        Raises:
            ShapeError: x has another shape or dtype.
            StateError: an earlier call was interrupted.
            HdlifError: another thread is in a call.
        """
        if getattr(x, "shape", None) != self._shape:
            raise self._refusal(x)
        if self._only is None:
            several: Floats = self.run(x[None])[0]
            return several
        logits = np.empty((1, *self._outputs), np.float32)
        self._advance(x, logits)
        return logits

    def run(self, x: Floats) -> Floats:
        """Run K steps on frames, float32 [K, B, C, H, W], and return logits [K, B, *output_shape]."""
        if getattr(x, "shape", (0,))[1:] != self._shape or not len(x):
            raise self._refusal(x)
        logits = np.empty((len(x), len(self._parts), *self._outputs), np.float32)
        if self._only is not None:
            self._advance(x, logits)
            return logits
        if x.dtype != np.float32:
            raise self._refusal(x)
        self._check_held()
        for which, part in enumerate(self._parts):
            own = np.empty((len(x), *self._outputs), np.float32)
            part.advance(x[:, which].copy(order="C"), own)
            logits[:, which] = own
        return logits

    @property
    def state(self) -> State:
        """Return a copy of the state in the format of `Session.step`."""
        self._check_held()
        batch = len(self._parts)
        last = {name: np.empty((batch, *shape[1:], shape[0]), np.float32) for name, shape in self._states.items()}
        for which, part in enumerate(self._parts):
            part.give([array[which : which + 1] for array in last.values()])
        return {"t": np.array(self.t, np.int64), **{name: np.moveaxis(array, -1, 1) for name, array in last.items()}}

    def resume(self, state: Mapping[str, Array]) -> None:
        """Continue from a given state, or raise `StateError` if the state does not fit the network or batch."""
        t = check_state(state, self._states, len(self._parts))
        for which, part in enumerate(self._parts):
            own = [state[name][which : which + 1] for name in self._states]
            part.take([np.ascontiguousarray(np.moveaxis(array, 1, -1)) for array in own], t)

    @property
    def sums(self) -> Floats:
        """Return the sum of the outputs over all steps so far, or zeros if predictions do not use the mean output.

        The batch size must be 1. After `resume`, the sum restarts at zero.
        """
        sums: Floats = np.frombuffer(self._parts[0].sums, np.float32).reshape(self._outputs)
        return sums

    def to_bytes(self) -> bytes:
        """Return the complete state as portable bytes in the format of `hdlif.h`.

        The batch size must be 1.
        """
        return self._parts[0].save()

    def load_bytes(self, state: bytes) -> None:
        """Continue from the bytes of `to_bytes`, or of `hdlif_stream_save` in the C interface.

        Raises:
            StateError: the bytes are damaged, or belong to another network or version.
        """
        self._parts[0].load(state)

    def _advance(self, x: Floats, logits: Floats) -> None:
        assert self._only is not None
        try:
            self._only.advance(x, logits)
        except TypeError:
            if not isinstance(x, np.ndarray) or x.dtype != np.float32:
                raise self._refusal(x) from None
            # the entries are not in C order
            self._only.advance(x.copy(order="C"), logits)

    def _check_held(self) -> None:
        if any(part.t != self.t or part.t < 0 for part in self._parts):
            raise StateError("a step of this sequence was interrupted, and its state is lost; begin another one")

    def _refusal(self, x: object) -> ShapeError:
        shape = ", ".join(map(str, self._shape))
        return ShapeError(
            f"x is {described(x)}; a step of this sequence takes a float32 array [{shape}], a run [K, {shape}]"
        )
