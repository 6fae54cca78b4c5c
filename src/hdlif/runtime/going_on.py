"""A sequence without an end: the answer after each of its steps, and its state as bytes to go on from elsewhere.

The bytes of a network with outputs [n] and states of E entries in all, little-endian:

    8       b"HDLIFSEQ"
    4       uint32, the version of this layout: 1
    32      SHA-256 of the network's file, as `network_digest` has it
    8       int64, the steps that it has seen
    4 n     float32, the sum of the outputs that the answer is read off, where it is read off their mean; else zeros
    4 E     float32, the states in the order of the network's nodes, each [C, H, W] or [C] in C order
    32      SHA-256 of all that stands before
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import StateError
from hdlif.graph.artefact import Graph, dumps
from hdlif.runtime.answers import Answer, answers, uncounted
from hdlif.runtime.session import Session
from hdlif.runtime.state import State

Floats = NDArray[np.float32]
MAGIC, VERSION = b"HDLIFSEQ", 1
_HEAD = struct.Struct("<8sI32sq")
_DIGEST_BYTES = 32
_LAST_STEP = 2**62


def network_digest(graph: Graph) -> str:
    """SHA-256, in hexadecimal, of the file that `save` writes of a graph: alike on every machine."""
    return hashlib.sha256(dumps(graph)).hexdigest()


class GoingOn:
    """A sequence of one input that goes on for as many steps as come, and what the network says after each.

    An answer is read off the mean of all outputs so far, off the last one, or off each for itself, as the network's
    task says. After any number of steps it is what `answers` says of `Session.run` over these, to the bit.

    Args:
        digest: the network's, by `network_digest`; only what bears the same is gone on from.
        content: what `to_bytes` gave, to go on from; it begins where left out.
    Raises:
        StateError: `content` is damaged, of another network, or of a later version.
    """

    def __init__(self, session: Session, digest: str, content: bytes | None = None) -> None:
        self._session, self._digest = session, bytes.fromhex(digest)
        self._total = np.zeros(len(session.labels), np.float32)
        state = None
        if content is not None:
            state, self._total = self._read(content)
        self._sequence = session.sequence(state=state)

    @property
    def t(self) -> int:
        """The steps that it has seen."""
        return self._sequence.t

    @property
    def held_bytes(self) -> int:
        """What it holds."""
        return self._session.sequence_bytes + self._total.nbytes

    def run(self, x: Floats) -> list[Answer | None]:
        """The answer after each of the next steps, float32 [K, 1, C, H, W].

        None after the first steps of a task that answers later than it sees, and where outputs are not finite.
        """
        first = self.t
        return self._said(self._sequence.run(x)[:, 0], first)

    def _said(self, outputs: Floats, first: int) -> list[Answer | None]:
        task, labels = self._session.task, self._session.labels
        silent = min(max(uncounted(task) - first, 0), len(outputs))
        if task.combine == "mean":
            with np.errstate(all="ignore"):
                # In the order of the steps, as the mean of a whole run adds them.
                sums = np.concatenate([self._total[None], outputs]).cumsum(0)[1:]
                self._total = sums[-1].copy()
                steps = np.arange(first + 1, first + len(sums) + 1, dtype=np.float32)
                outputs = (sums / steps[:, None]).astype(np.float32)
        # Each step as if it were a sample of one step.
        said = answers(outputs[None, silent:], replace(task, delay=0), labels)
        return [None] * silent + list(said)

    def to_bytes(self) -> bytes:
        """All of it, as the module says."""
        state = self._sequence.state
        head = _HEAD.pack(MAGIC, VERSION, self._digest, self.t)
        arrays = (self._total, *(state[name][0] for name in self._session.state_shapes))
        body = b"".join([head, *(array.astype("<f4").tobytes() for array in arrays)])
        return body + hashlib.sha256(body).digest()

    def _read(self, content: bytes) -> tuple[State, Floats]:
        outputs, shapes = len(self._session.labels), self._session.state_shapes
        if content[: len(MAGIC)] != MAGIC:
            raise StateError(f"begins with {content[: len(MAGIC)]!r}, and the state of a sequence with {MAGIC!r}")
        if len(content) < _HEAD.size + _DIGEST_BYTES:
            raise StateError(f"has {len(content)} bytes, which is not a whole state; export it again")
        _, version, network, t = _HEAD.unpack_from(content)
        if version != VERSION:
            raise StateError(f"is of version {version}, and {VERSION} is read; export it from a server of this version")
        if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
            raise StateError("its bytes do not have the digest that they end with; export it again")
        if network != self._digest:
            raise StateError(
                f"is of the network with digest {network.hex()[:16]}..., and this one's is "
                f"{self._digest.hex()[:16]}...; go on with the same file"
            )
        values = np.frombuffer(content[_HEAD.size : -_DIGEST_BYTES], np.uint8)
        if len(values) != 4 * (outputs + sum(map(math.prod, shapes.values()))):
            raise StateError(f"has {len(content)} bytes, which are not those of this network's states; export it again")
        floats = values.view("<f4").astype(np.float32)
        if not np.isfinite(floats).all() or not 0 <= t < _LAST_STEP:
            raise StateError("holds a value that is not finite, or a number of steps out of range; begin again")
        return {"t": np.array(t, np.int64), **_cut(floats[outputs:], shapes)}, floats[:outputs].copy()


def _cut(floats: Floats, shapes: Mapping[str, tuple[int, ...]]) -> State:
    """The states [1, C, H, W] or [1, C] that lie one behind another."""
    state: State = {}
    for name, shape in shapes.items():
        size = math.prod(shape)
        state[name], floats = floats[:size].reshape(1, *shape), floats[size:]
    return state
