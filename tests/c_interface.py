"""The C interface by ctypes: of the extension, which has it too, or of a library that was built."""

import ctypes
import json
import math
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_void_p, string_at
from pathlib import Path

import numpy as np

from hdlif import _native
from hdlif.graph.graph import MAP_TASKS

OK, ARGUMENT, FILE, ARTEFACT, STATE, LIMIT, MEMORY, BUSY, INTERRUPTED, INTERNAL = range(10)
GoOn = ctypes.CFUNCTYPE(c_int32, c_void_p)
Floats = POINTER(c_float)


class Options(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t),
        ("threads", c_int32),
        ("instructions", c_char_p),
        ("max_bytes", c_int64),
        ("max_operations", c_int64),
        ("go_on", GoOn),
        ("context", c_void_p),
    )


SIGNATURES = {
    "error_text": (c_char_p,),
    "version": (c_char_p,),
    "instruction_set": (c_char_p, c_int32),
    "open": (c_int32, c_char_p, c_size_t, c_void_p, POINTER(c_void_p)),
    "open_file": (c_int32, c_char_p, c_void_p, POINTER(c_void_p)),
    "close": (None, c_void_p),
    "time_steps": (c_int32, c_void_p),
    "input_shape": (None, c_void_p, POINTER(c_int32)),
    "input_kind": (c_char_p, c_void_p),
    "outputs": (c_int32, c_void_p),
    "output_shape": (None, c_void_p, POINTER(c_int32)),
    "label": (c_char_p, c_void_p, c_int32),
    "instructions": (c_char_p, c_void_p),
    "weight_bytes": (c_int64, c_void_p),
    "graph": (c_void_p, c_void_p, POINTER(c_size_t)),
    "normalise": (c_int32, c_void_p, Floats, c_int64, Floats),
    "run": (c_int32, c_void_p, Floats, c_int64, c_int64, c_int64, Floats),
    "cost": (c_int32, c_void_p, c_int64, c_int64, c_int64, POINTER(c_int64), POINTER(c_double)),
    "values": (c_int32, c_void_p),
    "value_name": (c_char_p, c_void_p, c_int32),
    "value_shape": (None, c_void_p, c_int32, POINTER(c_int32)),
    "run_values": (c_int32, c_void_p, Floats, c_int64, c_int64, c_int64, Floats, POINTER(Floats)),
    "stream_open": (c_int32, c_void_p, POINTER(c_void_p)),
    "stream_close": (None, c_void_p),
    "stream_run": (c_int32, c_void_p, Floats, c_int64, Floats),
    "stream_step": (c_int32, c_void_p, Floats, Floats),
    "stream_reset": (c_int32, c_void_p),
    "stream_steps": (c_int64, c_void_p),
    "state_size": (c_size_t, c_void_p),
    "stream_save": (c_int32, c_void_p, c_void_p, c_size_t),
    "stream_load": (c_int32, c_void_p, c_char_p, c_size_t),
    "state_name": (c_char_p, c_void_p, c_int32),
    "state_shape": (None, c_void_p, c_int32, POINTER(c_int32)),
    "learner_open": (
        *(c_int32, c_char_p, c_size_t, c_void_p, POINTER(c_int32), c_size_t, c_char_p, c_size_t, Floats),
        POINTER(c_void_p),
    ),
    "learner_close": (None, c_void_p),
    "learner_step": (c_int32, c_void_p, Floats, c_int64, c_int64, POINTER(c_int32), Floats),
    "learner_update": (c_int32, c_void_p),
    "learner_network": (c_int32, c_void_p, POINTER(c_void_p)),
}


class CallError(Exception):
    """A call that failed: its status, and the library's text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Library:
    """Functions without their prefix; `call` raises `CallError`."""

    def __init__(self, path: str | Path) -> None:
        library = ctypes.CDLL(str(path))
        for name, (result, *arguments) in SIGNATURES.items():
            function = getattr(library, f"hdlif_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def call(self, name: str, *arguments: object) -> None:
        status = getattr(self, name)(*arguments)
        if status != OK:
            raise CallError(status, self.error_text().decode())  # type: ignore[attr-defined]

    def network(self, content: bytes, **options: object) -> "Network":
        return Network(self, content, **options)


def floats(array: np.ndarray) -> object:
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    return array.ctypes.data_as(Floats)


def options_of(options: Mapping[str, object]) -> Options:
    return Options(**{"size": ctypes.sizeof(Options), "threads": 1, **options})  # type: ignore[arg-type]


class Network:
    """An open network; closes itself."""

    def __init__(self, library: Library, content: bytes, **options: object) -> None:
        self.library, self.handle = library, c_void_p()
        library.call("open", content, len(content), byref(options_of(options)), byref(self.handle))

    def __del__(self) -> None:
        self.library.close(self.handle)  # type: ignore[attr-defined]

    def ask(self, name: str, *arguments: object) -> object:
        return getattr(self.library, name)(self.handle, *arguments)

    def call(self, name: str, *arguments: object) -> None:
        self.library.call(name, self.handle, *arguments)

    def shape(self, name: str, *arguments: object) -> tuple[int, ...]:
        shape = (c_int32 * 3)()
        self.ask(name, *arguments, shape)
        return tuple(shape)

    def labels(self) -> list[str]:
        count = self.shape("output_shape")[0]
        return [self.ask("label", i).decode() for i in range(count)]  # type: ignore[attr-defined]

    def output_shape(self) -> tuple[int, ...]:
        """[C, H, W] of maps, else [n]."""
        shape, size = self.shape("output_shape"), c_size_t()
        assert math.prod(shape) == self.ask("outputs")
        graph = json.loads(string_at(self.ask("graph", byref(size)), size.value))
        return shape if graph.get("task", {}).get("kind") in MAP_TASKS else shape[:1]

    def run(self, x: np.ndarray, steps: int) -> np.ndarray:
        logits = np.empty((steps, x.shape[1], *self.output_shape()), np.float32)
        self.call("run", floats(x), len(x), x.shape[1], steps, floats(logits))
        return logits

    def stream(self) -> "Stream":
        return Stream(self)


class Stream:
    """An open stream; closes itself."""

    def __init__(self, network: Network) -> None:
        self.network, self.library, self.handle = network, network.library, c_void_p()
        network.call("stream_open", byref(self.handle))

    def __del__(self) -> None:
        self.library.stream_close(self.handle)  # type: ignore[attr-defined]

    def call(self, name: str, *arguments: object) -> None:
        self.library.call(f"stream_{name}", self.handle, *arguments)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Logits [K, ...] of x [K, C, H, W]."""
        logits = np.empty((len(x), *self.network.output_shape()), np.float32)
        self.call("run", floats(x), len(x), floats(logits))
        return logits

    def steps(self) -> int:
        return self.library.stream_steps(self.handle)  # type: ignore[attr-defined,no-any-return]

    def save(self) -> bytes:
        size: int = self.network.ask("state_size")  # type: ignore[assignment]
        state = ctypes.create_string_buffer(size)
        self.call("save", state, size)
        return state.raw

    def load(self, state: bytes) -> None:
        self.call("load", state, len(state))


class Learner:
    """An open learner; closes itself."""

    def __init__(
        self,
        library: Library,
        content: bytes,
        places: Sequence[tuple[int, int, bool]],
        needed: Sequence[bool],
        rate: tuple[float, float, float],
        **options: object,
    ) -> None:
        self.library, self.handle, flat = library, c_void_p(), [int(n) for place in places for n in place]
        arrays = ((c_int32 * len(flat))(*flat), len(places), bytes(needed), len(needed), (c_float * 3)(*rate))
        library.call("learner_open", content, len(content), byref(options_of(options)), *arrays, byref(self.handle))

    def __del__(self) -> None:
        self.library.learner_close(self.handle)  # type: ignore[attr-defined]

    def step(self, x: np.ndarray, t: int, outputs: int, targets: Sequence[int] | None = None) -> np.ndarray:
        """Logits [B, outputs] of x [B, C, H, W]."""
        logits = np.empty((len(x), outputs), np.float32)
        classes = None if targets is None else (c_int32 * len(targets))(*targets)
        self.library.call("learner_step", self.handle, floats(x), len(x), t, classes, floats(logits))
        return logits

    def update(self) -> None:
        self.library.call("learner_update", self.handle)

    def network(self) -> Network:
        found = Network.__new__(Network)
        found.library, found.handle = self.library, c_void_p()
        self.library.call("learner_network", self.handle, byref(found.handle))
        return found


OF_THE_EXTENSION = Library(_native.__file__)
