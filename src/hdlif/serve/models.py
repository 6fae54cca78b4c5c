"""Load a server's networks, run their inputs in batches, and reload their model files."""

import asyncio
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import HdlifError, brief, did_you_mean
from hdlif.graph.graph import PLACED_TASKS
from hdlif.runtime import Session
from hdlif.runtime.answers import Answer, answers
from hdlif.runtime.early import Early, choose_confidence, early_answers
from hdlif.runtime.going_on import GoingOn
from hdlif.runtime.images import Placed
from hdlif.runtime.masks import as_json
from hdlif.serve.batching import Batcher
from hdlif.serve.metrics import Metrics
from hdlif.serve.refusals import Refusal
from hdlif.serve.settings import Settings
from hdlif.zoo import network_file

Floats = NDArray[np.float32]
Steps = tuple[GoingOn, Floats]
"""Sequence of a stream, and the next time steps."""
SUFFIX = ".hdlif.safetensors"
OVERHEAD_BYTES = 2**22
"""Memory of a network in bytes, in addition to weights and working memory; threads take most of it."""
_STEPS_AT_ONCE = 64
"""Maximum number of stream requests that a thread runs in one call."""


class Network:
    """A network loaded from a model file, with its job queue.

    Args:
        path: path of the model file, or name of a trained network.
        runs: the threads that run the network.
    """

    def __init__(self, name: str, path: Path, settings: Settings, runs: Executor, metrics: Metrics) -> None:
        self.name, self.path, self._threads = name, network_file(path), runs
        self.session = Session(
            self.path, settings.threads, max_bytes=settings.max_bytes, max_operations=settings.max_operations
        )
        self.digest, stored = self.session.digest, self.session.confidence
        try:
            self.confidence = choose_confidence(settings.confidence, stored, self.session.task)
        except HdlifError as error:
            raise HdlifError(f"{path}: {error}") from error
        # The batchers do not refer to the network, so its memory is freed as soon as it is unused.
        self._inputs = Batcher[Floats, Floats | Early](
            partial(_run, self.session, self.confidence),
            runs,
            budget=settings.latency_budget_ms / 1000,
            most=settings.max_batch,
            most_waiting=settings.max_waiting,
            observe=metrics.batches.labels(name).observe,
        )
        self._steps = Batcher[Steps, list[Answer | None]](
            _advance,
            runs,
            budget=0,
            most=_STEPS_AT_ONCE,
            most_waiting=settings.max_waiting,
            runners=2,
            observe=metrics.steps.labels(name).observe,
        )

    @property
    def held_bytes(self) -> int:
        """Return how many bytes of memory the network takes, excluding streams."""
        return self.session.weight_bytes + self.session.working_bytes + OVERHEAD_BYTES

    async def predict(self, x: Floats, placed: Sequence[Placed | None] = ()) -> list[Answer | None]:
        """Return the predictions for N inputs [T or 1, N, C, H, W], with None for inputs whose outputs are not finite.

        Args:
            placed: the `Placed` of each input, as for `runtime.answers.answers`.
        """
        outputs = await self._inputs.submit(x, weight=x.shape[1], key=len(x))
        task, labels = self.session.task, self.session.labels
        if isinstance(outputs, Early):
            return list(early_answers(outputs, task, labels))
        if task.kind not in PLACED_TASKS:
            return list(answers(outputs, task, labels))
        # Masks and boxes take milliseconds, so compute them on a thread while other requests continue.
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: [one and as_json(one) for one in answers(outputs, task, labels, placed)]
        )

    def begin(self, content: bytes | None) -> GoingOn:
        """Start a new sequence, or continue the exported sequence in `content`."""
        return GoingOn(self.session, content, confidence=self.confidence)

    async def advance(self, sequence: GoingOn, x: Floats) -> list[Answer | None]:
        """Run the next steps of a sequence, and return the prediction after each step."""
        return await self._steps.submit((sequence, x))

    def describe(self) -> dict[str, Any]:
        """Describe the network and its input as a JSON object."""
        session = self.session
        record, task = session.input, session.task
        return {
            "name": self.name,
            "digest": self.digest,
            "labels": list(session.labels),
            "task": task.kind,
            "combine": task.combine,
            "delay": task.delay,
            "time_steps": session.time_steps,
            "output": list(session.output_shape),
            "confidence": self.confidence,
            "input": {
                "kind": self.kind,
                "shape": list(record.shape),
                "mean": list(record.mean),
                "std": list(record.std),
                "frames": record.frames,
                "resize": record.resize,
                "columns": list(record.columns),
            },
            "weight_bytes": session.weight_bytes,
            "stream_bytes": session.sequence_bytes,
        }

    @property
    def kind(self) -> str:
        """Return the network's input kind."""
        record = self.session.input
        return "sound" if record.sound is not None else record.kind


def _run(session: Session, confidence: float | None, batch: Sequence[Floats]) -> Sequence[Floats | Early | Exception]:
    """Return the outputs of each job; they are bit-identical to the outputs of a job that runs alone."""
    x, ends = np.concatenate(batch, axis=1) if len(batch) > 1 else batch[0], np.cumsum([x.shape[1] for x in batch])[:-1]
    try:
        if confidence is not None:
            early = session.run(x, confidence=confidence)
            return [Early(*parts) for parts in zip(*(np.split(one, ends) for one in early), strict=True)]
        return np.split(session.run(x), ends, axis=1)
    except HdlifError as error:
        # Several jobs together can exceed a limit that each job respects.
        return [error] if len(batch) == 1 else [_run(session, confidence, [x])[0] for x in batch]


def _advance(batch: Sequence[Steps]) -> Sequence[list[Answer | None] | Exception]:
    found: list[list[Answer | None] | Exception] = []
    for sequence, x in batch:
        try:
            found.append([one and as_json(one) for one in sequence.run(x)])
        except HdlifError as error:
            found.append(error)
    return found


class Models:
    """The networks of a server, by name.

    A network is replaced only between requests. Requests and streams that started on a replaced network continue to use
    that network. To limit memory, files are not reloaded while replaced networks take more than
    `Settings.max_old_bytes`.

    Args:
        artefacts: the model file for each name.
    Raises:
        ArtefactError, LimitError, AllocationError: a model file cannot be loaded.
        HdlifError: there are no model files.
    """

    def __init__(self, artefacts: Mapping[str, Path], settings: Settings, threads: Executor, metrics: Metrics) -> None:
        if not artefacts:
            raise HdlifError("there is no model to serve; give at least one file")
        self._settings, self._threads, self._metrics = settings, threads, metrics
        self._networks = {name: self._load(name, path) for name, path in artefacts.items()}
        self._loading = asyncio.Lock()
        self.old: weakref.WeakSet[Network] = weakref.WeakSet()

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks.values())

    def __getitem__(self, name: str) -> Network:
        network = self._networks.get(name)
        if network is None:
            raise Refusal("unknown_model", f"there is no model {brief(name)}; {did_you_mean(name, self._networks)}")
        return network

    @property
    def old_bytes(self) -> int:
        """Return how many bytes of memory the replaced networks that are still in use take."""
        return sum(network.held_bytes for network in self.old)

    async def reload(self, name: str) -> bool:
        """Reload the model file `name`, and return whether the network has changed.

        Raises:
            HdlifError: the file cannot be loaded, or old networks take too much memory. The loaded network stays.
        """
        async with self._loading:
            held, most = self.old_bytes, self._settings.max_old_bytes
            outcome = "refused"
            try:
                if held > most:
                    raise HdlifError(
                        f"streams still use {len(self.old):,} replaced networks, which hold {held:,} bytes of at most "
                        f"{most:,}; end these streams, or wait"
                    )
                # Load on a thread that does not run networks, so networks keep running.
                found = await asyncio.get_running_loop().run_in_executor(
                    None, self._load, name, self._networks[name].path
                )
                before = self._networks[name]
                changed = found.digest != before.digest
                if changed:
                    self.old.add(before)
                    self._networks[name] = found
                outcome = "changed" if changed else "unchanged"
            finally:
                self._metrics.reloads.labels(name, outcome).inc()
            return changed

    def _load(self, name: str, path: Path) -> Network:
        return Network(name, path, self._settings, self._threads, self._metrics)


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST_NAME = 64


def name_artefacts(artefacts: Sequence[str]) -> dict[str, Path]:
    """Return the path of each model file by the name that clients use, by default the filename without its suffix.

    >>> name_artefacts(["runs/digits.hdlif.safetensors", "ecg=net.hdlif.safetensors"])  # doctest: +ELLIPSIS
    {'digits': ...Path('runs/digits.hdlif.safetensors'), 'ecg': ...Path('net.hdlif.safetensors')}

    Raises:
        HdlifError: a name occurs twice, or contains a character other than letters, digits, "-", "_" and ".".
    """
    found: dict[str, Path] = {}
    for artefact in artefacts:
        name, equals, place = artefact.partition("=")
        path = Path(place)
        if not equals or not _is_name(name):
            path = Path(artefact)
            name = path.name.removesuffix(SUFFIX).removesuffix(".safetensors")
        if not _is_name(name):
            raise HdlifError(
                f"{artefact}: {brief(name)} is not a valid model name (up to {_LONGEST_NAME} letters, digits, -, _ "
                "and .); give NAME=PATH"
            )
        if name in found:
            raise HdlifError(f"{artefact}: two models are named {name}; give NAME=PATH")
        found[name] = path
    return found


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and set(name) <= _LETTERS and set(name) != {"."}
