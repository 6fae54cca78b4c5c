"""Combine jobs that arrive at about the same time into one batch, and run the batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from hdlif.serve.refusals import Refusal

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Job, Result]):
    job: Job
    weight: int
    key: Hashable
    answer: "asyncio.Future[Result]"


class Batcher(Generic[Job, Result]):
    """A queue that collects jobs into batches for up to `budget` seconds or up to a total weight of `most`.

    Jobs start in order of arrival, and only jobs with the same key run together. While all runners are busy, jobs wait
    in the queue.

    Args:
        run: returns the results of jobs in the same order, each a value or an exception to raise; runs on `executor`.
        most: largest total weight of a batch, unless a single job weighs more.
        most_waiting: largest total weight of the waiting jobs; further jobs raise `Refusal`.
        runners: largest number of concurrent calls of `run`.
        observe: called with the weight of each batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        executor: Executor,
        *,
        budget: float,
        most: int,
        most_waiting: int,
        runners: int = 1,
        observe: Callable[[int], object] = lambda weight: None,
    ) -> None:
        self._run, self._executor, self._observe = run, executor, observe
        self._budget, self._most, self._most_waiting, self._free = budget, most, most_waiting, runners
        self._queue: deque[_Waiting[Job, Result]] = deque()
        self._weight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, job: Job, *, weight: int = 1, key: Hashable = None) -> Result:
        """Run a job, and return its result or raise its exception. Raises `Refusal` if too many jobs are waiting."""
        if self._queue and self._weight + weight > self._most_waiting:
            raise Refusal("overloaded", f"{self._weight:,} inputs are already waiting", {"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        waiting = _Waiting[Job, Result](job, weight, key, loop.create_future())
        self._queue.append(waiting)
        self._weight += weight
        if self._weight >= self._most or not self._budget:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_later(self._budget, self._start)
        return await waiting.answer

    def _start(self) -> None:
        """Start the waiting jobs on all free runners."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and self._free:
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._run_batch(self._take()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[_Waiting[Job, Result]]:
        """Remove and return the next batch: the first waiting job and later jobs with the same key."""
        key, weight = self._queue[0].key, 0
        taken: list[_Waiting[Job, Result]] = []
        left: deque[_Waiting[Job, Result]] = deque()
        while self._queue and weight < self._most:
            waiting = self._queue.popleft()
            if waiting.answer.cancelled():
                self._weight -= waiting.weight
            elif waiting.key == key and (not taken or weight + waiting.weight <= self._most):
                taken.append(waiting)
                weight += waiting.weight
            else:
                left.append(waiting)
        self._queue.extendleft(reversed(left))
        self._weight -= weight
        return taken

    async def _run_batch(self, batch: list[_Waiting[Job, Result]]) -> None:
        results: Sequence[Result | Exception] = []
        try:
            if batch:
                self._observe(sum(waiting.weight for waiting in batch))
                jobs = [waiting.job for waiting in batch]
                results = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, jobs)
        except Exception as error:
            results = [error] * len(batch)
        finally:
            self._free += 1
        for waiting, result in zip(batch, results, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(result, Exception):
                waiting.answer.set_exception(result)
            else:
                waiting.answer.set_result(result)
        if self._queue:
            self._start()
