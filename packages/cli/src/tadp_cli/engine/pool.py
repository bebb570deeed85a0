"""Parts of some work, done by Ray Data's pool of actors: each has loaded its model once.

Parts and results are pickled; images are read by the actors, so that Ray's object store holds names and texts alone.
Ray does again what an actor had in hand when it died, and hands each result over once.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tadp_cli.engine.options import Engine

Work = Callable[[Any], Any]
"""From a part to its result."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray announces as its next default, and warns of until then
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else an error of Ray's own about each pool of actors
    "RAY_worker_niceness": "0",  # not 15: the actors are the command's own work
}
"""Ray's settings, where the user has none."""
_STORE_BYTES = 128 * 2**20
_DEATHS = 5
"""How often an actor may die, and a part be tried again, until the command fails."""


class _Failure:
    """An error inside an actor, to be raised by the command as it is."""

    def __init__(self, error: Exception):
        try:
            self.error = pickle.loads(pickle.dumps(error))
        except Exception:  # errors of clients hold connections, or cannot be built from their text
            self.error = RuntimeError(f"{type(error).__name__}: {error}")


class _Actor:
    """What Ray makes in each actor; the model is loaded with the first part, so that its errors are results too."""

    def __init__(self, make: Callable[[], Work]):
        self._make = make
        self._work: Work | None = None

    def __call__(self, block: Any) -> Any:
        import pyarrow

        results = [pickle.dumps(self._done(part)) for part in block["part"].to_pylist()]
        return pyarrow.table({"result": pyarrow.array(results, pyarrow.large_binary())})

    def _done(self, part: bytes) -> Any:
        try:
            if self._work is None:
                self._work = self._make()
            return self._work(pickle.loads(part))
        except Exception as error:
            return _Failure(error)


def pooled(
    make: Callable[[], Work], parts: Sequence[Any], engine: Engine, *, device: str | None = None
) -> Iterator[Any]:
    """The result of each part, in the order in which they are done; the first error of an actor is raised.

    `make` and the parts are pickled; `make` is called once in each actor.
    """
    with _cluster(engine) as ray:
        gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
        actors = min(engine.actors or max(1, gpus), len(parts))
        data = ray.data.from_items([{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the two limits, which have no parameter yet
            results = data.map_batches(
                _Actor,
                fn_constructor_args=(make,),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_gpus=min(1, gpus / actors),
                num_cpus=1,
                max_restarts=_DEATHS,
                max_task_retries=_DEATHS,
            )
        try:
            for row in results.iter_rows():
                result = pickle.loads(row["result"])
                if isinstance(result, _Failure):
                    raise result.error
                yield result
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise RuntimeError(
                f"Ray gave up ({type(error).__name__}: {reason}): where memory ran out, take fewer --actors or a "
                "smaller --batch-size; the same command resumes"
            ) from error


@contextmanager
def _cluster(engine: Engine) -> Iterator[Any]:
    """Ray, connected to the cluster of RAY_ADDRESS, or to one that lives on this machine as long as the command."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError("--engine ray needs Ray: pip install 'tadp-cli[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        cores = max(os.cpu_count() or 1, engine.actors)
        ray.init("local", num_cpus=cores, object_store_memory=_STORE_BYTES, include_dashboard=False, **quiet)
    try:
        yield ray
    finally:
        ray.shutdown()
