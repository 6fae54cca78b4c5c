"""What comes within the latency budget is run as one, with the bits that each has alone."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest

from deployed_graphs import random_input
from hdlif.errors import LimitError
from hdlif.runtime import Session
from hdlif.serve import Settings
from hdlif.serve.app import create_app
from hdlif.serve.batching import Batcher
from hdlif.serve.refusals import Refusal
from served import NPY, client, npy, residual_network, write


class Recorded:
    """Squares numbers, and notes what was run at once; `go` holds it back."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = Event()
        self.go.set()

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.go.wait()
        self.batches.append(list(jobs))
        return [ValueError(f"{job} is odd") if job % 2 else job**2 for job in jobs]


def batcher(run: Recorded, pool: ThreadPoolExecutor, **given: Any) -> Batcher[int, int]:
    return Batcher(run, pool, **{"budget": 0.05, "most": 4, "most_waiting": 6} | given)


def test_jobs_within_the_budget_run_as_one_and_each_has_its_own_result() -> None:
    async def several(pool: ThreadPoolExecutor) -> list[Any]:
        at_work = batcher(run, pool)
        return await asyncio.gather(*(at_work.submit(job) for job in (2, 3, 4)), return_exceptions=True)

    run = Recorded()
    with ThreadPoolExecutor(1) as pool:
        two, three, four = asyncio.run(several(pool))
    assert run.batches == [[2, 3, 4]]
    assert (two, four, str(three)) == (4, 16, "3 is odd")


def test_a_full_batch_does_not_wait() -> None:
    async def several(pool: ThreadPoolExecutor) -> None:
        at_work = batcher(run, pool, budget=60)
        await asyncio.wait_for(asyncio.gather(*(at_work.submit(2 * job) for job in range(4))), 30)

    run = Recorded()
    with ThreadPoolExecutor(1) as pool:
        asyncio.run(several(pool))
    assert run.batches == [[0, 2, 4, 6]]


def test_jobs_of_one_key_are_run_together() -> None:
    async def several(pool: ThreadPoolExecutor) -> None:
        at_work = batcher(run, pool, most=100, most_waiting=100)
        jobs = [(0, "a"), (2, "b"), (4, "a"), (6, "a"), (8, "b"), (10, "a"), (12, "b"), (14, "b")]
        await asyncio.gather(*(at_work.submit(job, key=key) for job, key in jobs))

    run = Recorded()
    with ThreadPoolExecutor(1) as pool:
        asyncio.run(several(pool))
    assert run.batches == [[0, 4, 6, 10], [2, 8, 12, 14]]


def test_more_than_may_wait_is_refused_and_the_rest_is_run() -> None:
    async def several(pool: ThreadPoolExecutor) -> None:
        at_work = batcher(run, pool, budget=0)
        first = asyncio.create_task(at_work.submit(0))
        await asyncio.sleep(0.02)
        waiting = [asyncio.create_task(at_work.submit(2 * n)) for n in range(1, 7)]
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal) as refused:
            await at_work.submit(100)
        assert (refused.value.code, refused.value.headers) == ("overloaded", {"Retry-After": "1"})
        # Nobody waits for this one any more.
        waiting[1].cancel()
        run.go.set()
        assert await asyncio.gather(first, waiting[0], *waiting[2:]) == [0, 4, 36, 64, 100, 144]

    run = Recorded()
    run.go.clear()
    with ThreadPoolExecutor(1) as pool:
        asyncio.run(several(pool))
    assert run.batches == [[0], [2, 6, 8, 10], [12]]


def test_a_run_that_fails_fails_its_jobs_alone() -> None:
    def failing(jobs: Sequence[int]) -> list[int]:
        if 0 in jobs:
            raise RuntimeError("no")
        return list(jobs)

    async def several(pool: ThreadPoolExecutor) -> None:
        at_work = Batcher[int, int](failing, pool, budget=0.01, most=2, most_waiting=9)
        found = await asyncio.gather(*(at_work.submit(job) for job in (0, 1)), return_exceptions=True)
        assert [type(one) for one in found] == [RuntimeError, RuntimeError]
        assert await at_work.submit(5) == 5

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(several(pool))


@pytest.mark.parametrize("steps", [1, 3])
def test_requests_that_run_as_one_have_the_bits_of_each_alone(steps: int, tmp_path: Path) -> None:
    graph = residual_network()
    artefacts = write(tmp_path, net=graph)
    arrays = [random_input(graph, steps, 1, seed)[:, 0] for seed in range(12)]
    place = "/v1/models/net/predict?layout=sequence"

    async def together() -> list[Any]:
        app = create_app(artefacts, Settings(latency_budget_ms=60_000, max_batch=12, threads=2))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            sent = [http.post(place, content=npy(x), headers=NPY) for x in arrays]
            found = [answer.json() for answer in await asyncio.gather(*sent)]
            text = (await http.get("/metrics")).text
        assert 'hdlif_batch_inputs_count{model="net"} 1.0' in text
        assert 'hdlif_batch_inputs_sum{model="net"} 12.0' in text
        return found

    with client(artefacts) as http:
        alone = [http.post(place, content=npy(x), headers=NPY).json() for x in arrays]
    assert asyncio.run(together()) == alone
    assert len({str(one["inputs"][0]["logits"]) for one in alone}) == 12


def test_what_passes_a_limit_only_together_is_run_apart(tmp_path: Path) -> None:
    graph = residual_network()
    # One image over its steps fits, and three do not.
    most = next(n for n in (2**k for k in range(10, 40)) if _fits(graph, n))
    with pytest.raises(LimitError):
        Session(graph, 1, max_operations=most).run(random_input(graph, 4, 3))

    async def together() -> list[int]:
        app = create_app(
            write(tmp_path, net=graph), Settings(latency_budget_ms=60_000, max_batch=4, max_operations=most, threads=1)
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            small, large = (npy(np.zeros((n, 3, 9, 7), np.float32)) for n in (4, 64))
            place = "/v1/models/net/predict?layout=sequence"
            sent = [http.post(place, content=x, headers=NPY) for x in (small, small, small, large)]
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    assert asyncio.run(together()) == [200, 200, 200, 422]


def _fits(graph: Any, operations: int) -> bool:
    try:
        Session(graph, 1, max_operations=operations)
    except LimitError:
        return False
    return True
