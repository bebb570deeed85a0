"""The process that holds the model: started, asked, and started again if the system kills it."""

import asyncio
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tadp_cli.serve import model
from tadp_cli.serve.jobs import Answer, Job, ModelInfo, refusal

log = logging.getLogger(__name__)


class Worker:
    """One process; its memory is given back when it ends, whatever ends it."""

    def __init__(self, run: Path, device: str, plugins: Sequence[Path] = ()):
        self._model = (run, device, plugins)
        self.restarts = 0
        self._pool = _pool()

    def start(self) -> ModelInfo:
        """Returns when the model is loaded; what is wrong with the run is an error."""
        return self._pool.submit(model.load, *self._model).result()

    async def predict(self, jobs: Sequence[Job]) -> list[Answer]:
        """One answer per job. Where the process died, each job fails with "try again", and a new process starts."""
        try:
            return await asyncio.wrap_future(self._pool.submit(model.predict, jobs))
        except BrokenProcessPool:
            self.restarts += 1
            self._pool.shutdown(wait=False)
            self._pool = _pool()
            self._pool.submit(model.load, *self._model).add_done_callback(_log_failure)
            line = "the process with the model ended before it answered; a new one starts: send the image again"
            return [refusal(503, line, **{"Retry-After": "10"}) for _ in jobs]

    def stop(self) -> None:
        """Ends the process when its batch is done."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _log_failure(loaded: Future[ModelInfo]) -> None:
    if not loaded.cancelled() and (error := loaded.exception()) is not None:
        log.error("the model could not be loaded again: %s", error)


def _pool() -> ProcessPoolExecutor:
    # "spawn": a fork of a process with threads may wait forever.
    return ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))
