"""Work that waits a little for other work, so that what comes close together runs as one call."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
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
    """Gathers jobs for up to `budget` seconds, or until there are `most`, and runs them as one.

    Jobs are taken in the order in which they came; only those of one key are run together. Where all runners are busy,
    jobs wait for them and gather meanwhile.

    Args:
        run: the results of some jobs, in their order, each a value or what is to be raised; called on `executor`.
        most: the weights of what is run at once, unless a single job weighs more.
        most_waiting: the weights of what waits; what comes beyond is refused.
        runners: calls of `run` at a time.
        observed: is told the weight of each batch.
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
        observed: Callable[[int], object] = lambda weight: None,
    ) -> None:
        self._run, self._executor, self._observed = run, executor, observed
        self._budget, self._most, self._most_waiting, self._free = budget, most, most_waiting, runners
        self._queue: deque[_Waiting[Job, Result]] = deque()
        self._weight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, job: Job, *, weight: int = 1, key: Hashable = None) -> Result:
        """The result of a job; raises what its run raised, or `Refusal` where too much waits already."""
        if self._queue and self._weight + weight > self._most_waiting:
            raise Refusal("overloaded", f"{self._weight:,} inputs wait already", {"Retry-After": "1"})
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
        """Run what waits, as far as there are runners."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and self._free:
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._run_batch(self._taken()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _taken(self) -> list[_Waiting[Job, Result]]:
        """The next batch: the first that waits, and others of its key behind it."""
        key, weight = self._queue[0].key, 0
        taken: list[_Waiting[Job, Result]] = []
        left: deque[_Waiting[Job, Result]] = deque()
        while self._queue:
            waiting = self._queue.popleft()
            # Whoever asked has gone.
            if waiting.answer.cancelled():
                self._weight -= waiting.weight
            elif waiting.key == key and (not taken or weight + waiting.weight <= self._most):
                taken.append(waiting)
                weight += waiting.weight
            else:
                left.append(waiting)
                if weight >= self._most:
                    break
        self._queue.extendleft(reversed(left))
        self._weight -= weight
        return taken

    async def _run_batch(self, batch: list[_Waiting[Job, Result]]) -> None:
        loop = asyncio.get_running_loop()
        results: Sequence[Result | Exception]
        try:
            if batch:
                self._observed(sum(waiting.weight for waiting in batch))
                results = await loop.run_in_executor(self._executor, self._run, [waiting.job for waiting in batch])
            else:
                results = []
        # Whoever waits is told.
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


async def to_its_end(work: Awaitable[Result]) -> Result:
    """The result of some work; where whoever waits for it is cancelled, that is only heard once it has ended."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            # Nobody hears of it any more.
            task.exception()
        raise asyncio.CancelledError
    return task.result()
