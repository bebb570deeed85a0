"""How long a call takes."""

import time
from collections.abc import Callable
from statistics import median

SECONDS = 2.0
"""Over which calls are repeated."""


def milliseconds(run: Callable[[], object]) -> float:
    """Median over the calls within `SECONDS`, at least three, after one that is not counted.

    `run` returns when its work is done, on a GPU too.
    """
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)
