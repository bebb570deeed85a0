"""Latency of a call."""

import time
from collections.abc import Callable
from statistics import median

SECONDS = 2.0
"""Minimum time over which calls are repeated."""
clock = time.perf_counter
"""In seconds; time.process_time in its place on a machine that others use at the same time."""


def milliseconds(run: Callable[[], object]) -> float:
    """Median over the calls within `SECONDS`, at least three, after one that is not counted.

    `run` returns when its work is done, on a GPU too.
    """
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < SECONDS:
        start = clock()
        run()
        times.append(clock() - start)
    return 1000 * median(times)
