"""Dynamic batching: what arrives while a batch is predicted forms the next one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tadp_cli.serve.jobs import Answer, Job, refusal
from tadp_cli.serve.metrics import Metrics
from tadp_cli.serve.worker import Worker


@dataclass
class _Waiting:
    job: Job
    is_gone: Callable[[], Awaitable[bool]]
    """Whether the client has closed the connection."""
    answer: asyncio.Future[Answer]


class Batcher:
    """A queue of limited length before the worker."""

    def __init__(self, worker: Worker, metrics: Metrics, *, batch_size: int, queue: int):
        self.worker, self.metrics, self.batch_size = worker, metrics, batch_size
        self.queue: asyncio.Queue[_Waiting] = asyncio.Queue(queue)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on batches are predicted; called inside the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """What is still waiting is predicted first."""
        if self._task is None:
            return
        await self.queue.join()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def submit(self, job: Job, is_gone: Callable[[], Awaitable[bool]]) -> Answer:
        """The job's answer; one of status 503 where the queue is full."""
        waiting = _Waiting(job, is_gone, asyncio.get_running_loop().create_future())
        try:
            self.queue.put_nowait(waiting)
        except asyncio.QueueFull:
            line = f"{self.queue.maxsize} images are waiting already: send the image again later"
            return refusal(503, line, **{"Retry-After": "1"})
        return await waiting.answer

    async def _run(self) -> None:
        while True:
            batch = [await self.queue.get()]
            while len(batch) < self.batch_size and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            try:
                await self._predict(batch)
            finally:
                for _ in batch:
                    self.queue.task_done()

    async def _predict(self, batch: list[_Waiting]) -> None:
        there = []
        for waiting in batch:
            if await waiting.is_gone():
                waiting.answer.set_result(refusal(499, "the client closed the connection"))
            else:
                there.append(waiting)
        if not there:
            return
        self.metrics.batch_sizes.observe(len(there))
        try:
            answers = await self.worker.predict([waiting.job for waiting in there])
        except Exception as error:  # our own fault: each client gets it, and the next batch is predicted
            answers = [refusal(500, f"{type(error).__name__}: {error}")] * len(there)
        for waiting, answer in zip(there, answers, strict=True):
            waiting.answer.set_result(answer)
