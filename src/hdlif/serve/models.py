"""The networks of a server: loaded, run in batches, and exchanged for what their files have become."""

import asyncio
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.artefact import load
from hdlif.errors import HdlifError, LimitError, brief, did_you_mean
from hdlif.runtime import Session
from hdlif.runtime.answers import Answer, answers
from hdlif.runtime.going_on import GoingOn, network_digest
from hdlif.serve.batching import Batcher
from hdlif.serve.metrics import Metrics
from hdlif.serve.refusals import Refusal
from hdlif.serve.settings import Settings

Floats = NDArray[np.float32]
SUFFIX = ".hdlif.safetensors"
STEPS_AT_ONCE = 64
"""Requests for steps of streams that are run by one call of a thread."""
OVERHEAD_BYTES = 2**22
"""What a network takes beside its weights and working memory, its threads above all."""


@dataclass(frozen=True)
class Steps:
    """The next steps of a stream."""

    sequence: GoingOn
    x: Floats


class Network:
    """A loaded file, and what waits to be run on it.

    Args:
        runs: the threads that run it.
    """

    def __init__(self, name: str, path: Path, settings: Settings, runs: Executor, metrics: Metrics) -> None:
        graph = load(path)
        self.name, self.path = name, path
        self.digest = network_digest(graph)
        self.nodes = len(graph.nodes)
        self.session = Session(
            graph, settings.threads, max_bytes=settings.max_bytes, max_operations=settings.max_operations
        )
        # Nothing here leads back to the network, so that it goes as soon as nobody uses it.
        self.inputs = Batcher[Floats, Floats](
            partial(_run, self.session),
            runs,
            budget=settings.latency_budget_ms / 1000,
            most=settings.max_batch,
            most_waiting=settings.max_waiting,
            observed=metrics.batch_of(name),
        )
        self.steps = Batcher[Steps, list[Answer | None]](
            _advance,
            runs,
            budget=0,
            most=STEPS_AT_ONCE,
            most_waiting=settings.max_waiting,
            runners=2,
            observed=metrics.steps_of(name),
        )

    @property
    def held_bytes(self) -> int:
        """What it takes in memory, without its streams."""
        return self.session.weight_bytes + self.session.working_bytes + OVERHEAD_BYTES

    async def answered(self, x: Floats) -> list[Answer | None]:
        """What is said of each of several inputs, [T or 1, N, C, H, W], or None where outputs are not finite."""
        outputs = await self.inputs.submit(x, weight=x.shape[1], key=len(x))
        return list(answers(outputs, self.session.task, self.session.labels))

    async def advanced(self, sequence: GoingOn, x: Floats) -> list[Answer | None]:
        """What is said after each of the next steps of a sequence."""
        return await self.steps.submit(Steps(sequence, x))

    def as_dict(self) -> dict[str, Any]:
        """What it is and takes, as JSON has it."""
        record, task = self.session.input, self.session.task
        takes = {
            "kind": "sound" if record.sound is not None else record.kind,
            "shape": list(record.shape),
            "mean": list(record.mean),
            "std": list(record.std),
            "frames": record.frames,
            "resize": record.resize,
            "columns": list(record.columns),
        }
        return {
            "name": self.name,
            "digest": self.digest,
            "labels": list(self.session.labels),
            "task": task.kind,
            "combine": task.combine,
            "delay": task.delay,
            "time_steps": self.session.time_steps,
            "input": takes,
            "weight_bytes": self.session.weight_bytes,
            "stream_bytes": self.session.sequence_bytes,
        }


def _run(session: Session, batch: Sequence[Floats]) -> Sequence[Floats | Exception]:
    """The outputs of each job; each image's bits are those that it has alone."""
    if len(batch) == 1:
        return [session.run(batch[0])]
    try:
        outputs = session.run(np.concatenate(batch, axis=1))
    except LimitError:
        # Together they pass it; what does so by itself is refused.
        return [_alone(session, x) for x in batch]
    ends = np.cumsum([x.shape[1] for x in batch])[:-1]
    return np.split(outputs, ends, axis=1)


def _alone(session: Session, x: Floats) -> Floats | Exception:
    try:
        return session.run(x)
    except HdlifError as error:
        return error


def _advance(batch: Sequence[Steps]) -> Sequence[list[Answer | None] | Exception]:
    return [_next(job) for job in batch]


def _next(job: Steps) -> list[Answer | None] | Exception:
    try:
        return job.sequence.run(job.x)
    except HdlifError as error:
        return error


class Models:
    """The networks by name. One is exchanged between two requests: those that began on it end on it, as do streams.

    What was exchanged is in memory until then. Where such networks hold more than `Settings.max_old_bytes`, no file is
    loaded again, so that there is never more than that and one network of each name.

    Args:
        artefacts: the file of each name.
    Raises:
        ArtefactError, LimitError, AllocationError: one cannot be loaded.
        HdlifError: there is none, or a name is none for a path of HTTP.
    """

    def __init__(self, artefacts: Mapping[str, Path], settings: Settings, threads: Executor, metrics: Metrics) -> None:
        if not artefacts:
            raise HdlifError("there is no artefact to serve; give one or several files")
        self._settings, self._threads, self._metrics = settings, threads, metrics
        self._networks = {name: self._loaded(name, path) for name, path in artefacts.items()}
        self._reloading = {name: asyncio.Lock() for name in artefacts}
        self._old: weakref.WeakSet[Network] = weakref.WeakSet()

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks.values())

    def __getitem__(self, name: str) -> Network:
        network = self._networks.get(name)
        if network is None:
            raise Refusal("unknown_model", f"there is no model {brief(name)}; {did_you_mean(name, self._networks)}")
        return network

    @property
    def old(self) -> list[Network]:
        """Those that were exchanged and that streams or requests still use."""
        return list(self._old)

    @property
    def old_bytes(self) -> int:
        """What these hold."""
        return sum(network.held_bytes for network in self.old)

    async def reload(self, name: str) -> bool:
        """Load the file of a name again; whether it has become another network.

        Raises:
            HdlifError: it cannot be loaded; what was loaded goes on.
            Refusal: there is no such name, or those that were exchanged hold too much.
        """
        path = self[name].path
        async with self._reloading[name]:
            self._check_room()
            loop = asyncio.get_running_loop()
            try:
                # Not on the threads that run networks, which go on meanwhile.
                found = await loop.run_in_executor(None, self._loaded, name, path)
            except HdlifError:
                self._metrics.reloaded(name, "refused")
                raise
            before = self._networks[name]
            changed = found.digest != before.digest
            if changed:
                self._old.add(before)
                self._networks[name] = found
            self._metrics.reloaded(name, "changed" if changed else "unchanged")
            return changed

    def _check_room(self) -> None:
        held, most = self.old_bytes, self._settings.max_old_bytes
        if held > most:
            raise Refusal(
                "networks_full",
                f"streams live on {len(self.old):,} networks that were exchanged, which hold {held:,} bytes of at most "
                f"{most:,}",
                {"Retry-After": "5"},
            )

    def _loaded(self, name: str, path: Path) -> Network:
        return Network(name, path, self._settings, self._threads, self._metrics)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
_LONGEST_NAME = 64


def named(artefacts: Sequence[str]) -> dict[str, Path]:
    """Files by the names that clients use: of NAME=PATH its NAME, of a path its file's name without its suffix.

    >>> named(["runs/digits.hdlif.safetensors", "ecg=net.hdlif.safetensors"])  # doctest: +ELLIPSIS
    {'digits': ...Path('runs/digits.hdlif.safetensors'), 'ecg': ...Path('net.hdlif.safetensors')}

    Raises:
        HdlifError: a name is given twice, or has other characters than letters, digits, "-", "_" and ".".
    """
    found: dict[str, Path] = {}
    for artefact in artefacts:
        name, equals, place = artefact.partition("=")
        path = Path(place if equals and _is_name(name) else artefact)
        if not equals or not _is_name(name):
            name = path.name.removesuffix(SUFFIX).removesuffix(".safetensors")
        if not _is_name(name):
            raise HdlifError(
                f"{artefact}: {brief(name)} is no name of a model: up to {_LONGEST_NAME} letters, digits, -, _ and .; "
                "give NAME=PATH"
            )
        if name in found:
            raise HdlifError(f"{artefact}: two models are named {name}; give NAME=PATH")
        found[name] = path
    return found


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and set(name) <= set(_LETTERS) and set(name) != {"."}
