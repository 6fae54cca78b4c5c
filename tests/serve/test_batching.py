"""Requests that come within the latency budget run as one, with the bits that each has alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest

from deployed_graphs import random_input
from hdlif.runtime import Session
from hdlif.serve.batching import Batcher
from hdlif.serve.refusals import Refusal
from served import NPY, async_client, client, npy, residual_network, write

PREDICT = "/v1/models/net/predict?layout=sequence"


class Recorded:
    """Square numbers, and record the batches; `go` holds it back."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = Event()
        self.go.set()

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.go.wait()
        self.batches.append(list(jobs))
        if 13 in jobs:
            raise RuntimeError("no")
        return [ValueError(f"{job} is odd") if job % 2 else job**2 for job in jobs]


def run(work: Callable[[Batcher[int, int]], Awaitable[Any]], **given: Any) -> tuple[Any, list[list[int]]]:
    """Return what `work` returns, and the batches."""
    recorded = Recorded()

    async def in_loop() -> Any:
        return await work(Batcher(recorded, pool, **{"budget": 0.05, "most": 4, "most_waiting": 6} | given))

    with ThreadPoolExecutor(1) as pool:
        return asyncio.run(in_loop()), recorded.batches


def test_jobs_within_the_budget_run_as_one_and_each_has_its_own_result() -> None:
    async def work(batcher: Batcher[int, int]) -> list[Any]:
        jobs = await asyncio.gather(*(batcher.submit(job) for job in (2, 3, 4)), return_exceptions=True)
        failed = await asyncio.gather(*(batcher.submit(job) for job in (13, 6)), return_exceptions=True)
        return [*jobs, *failed, await batcher.submit(8)]

    (two, three, four, *failed, eight), batches = run(work)
    assert (two, str(three), four, eight) == (4, "3 is odd", 16, 64)
    assert [type(one) for one in failed] == [RuntimeError, RuntimeError]
    assert batches == [[2, 3, 4], [13, 6], [8]]


def test_a_full_batch_does_not_wait() -> None:
    async def work(batcher: Batcher[int, int]) -> None:
        await asyncio.wait_for(asyncio.gather(*(batcher.submit(2 * job) for job in range(4))), 30)

    assert run(work, budget=60)[1] == [[0, 2, 4, 6]]


def test_jobs_of_one_key_run_together() -> None:
    async def work(batcher: Batcher[int, int]) -> None:
        jobs = [(0, "a"), (2, "b"), (4, "a"), (6, "a"), (8, "b"), (10, "a"), (12, "b"), (14, "b")]
        await asyncio.gather(*(batcher.submit(job, key=key) for job, key in jobs))

    assert run(work, most=100, most_waiting=100)[1] == [[0, 4, 6, 10], [2, 8, 12, 14]]


def test_more_than_may_wait_is_refused_and_the_rest_is_run() -> None:
    async def work(batcher: Batcher[int, int]) -> None:
        batcher._run.go.clear()  # type: ignore[attr-defined]
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.sleep(0.02)
        waiting = [asyncio.create_task(batcher.submit(2 * n)) for n in range(1, 7)]
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal) as refused:
            await batcher.submit(100)
        assert (refused.value.code, refused.value.extra_headers) == ("overloaded", {"Retry-After": "1"})
        # Nobody waits for this one any more.
        waiting[1].cancel()
        batcher._run.go.set()  # type: ignore[attr-defined]
        assert await asyncio.gather(first, waiting[0], *waiting[2:]) == [0, 4, 36, 64, 100, 144]

    assert run(work, budget=0)[1] == [[0], [2, 6, 8, 10], [12]]


async def send_together(
    artefacts: dict[str, Path], arrays: Sequence[np.ndarray], **settings: Any
) -> tuple[list[httpx.Response], str]:
    """Return the responses to requests at the same time, which wait for each other, and the metrics after them."""
    async with async_client(artefacts, latency_budget_ms=60_000, **settings) as (_, http):
        found = await asyncio.gather(*(http.post(PREDICT, content=npy(x), headers=NPY) for x in arrays))
        return found, (await http.get("/metrics")).text


def test_requests_that_run_as_one_have_the_bits_of_each_alone(tmp_path: Path) -> None:
    graph = residual_network()
    artefacts = write(tmp_path, net=graph)
    for steps in (1, 3):
        arrays = [random_input(graph, steps, 1, seed)[:, 0] for seed in range(12)]
        with client(artefacts) as http:
            alone = [http.post(PREDICT, content=npy(x), headers=NPY).json() for x in arrays]
        together, text = asyncio.run(send_together(artefacts, arrays, max_batch=12, threads=2))
        assert [one.json() for one in together] == alone
        assert len({str(one["inputs"][0]["logits"]) for one in alone}) == 12
        assert 'hdlif_batch_inputs_count{model="net"} 1.0' in text
        assert 'hdlif_batch_inputs_sum{model="net"} 12.0' in text


def test_inputs_that_pass_a_limit_only_together_run_apart(tmp_path: Path) -> None:
    graph = residual_network()
    _, each = Session(graph, 1)._cost(1, 4, False, False, False)
    arrays = [np.zeros((n, 3, 9, 7), np.float32) for n in (4, 4, 4, 64)]
    found, _ = asyncio.run(
        send_together(write(tmp_path, net=graph), arrays, max_batch=4, max_operations=2 * each, threads=1)
    )
    assert [one.status_code for one in found] == [200, 200, 200, 422]
