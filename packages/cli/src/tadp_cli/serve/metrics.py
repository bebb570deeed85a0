"""Counters in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32)


class Histogram:
    """Counts of values up to each bound."""

    def __init__(self, name: str, description: str, bounds: Sequence[float]):
        self.name, self.description, self.bounds = name, description, bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self) -> Iterator[str]:
        yield from _head(self.name, self.description, "histogram")
        reached = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            reached += count
            yield f'{self.name}_bucket{{le="{bound}"}} {reached}'
        yield f"{self.name}_sum {self.total:.6f}"
        yield f"{self.name}_count {reached}"


class Metrics:
    """Of one server."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        """{status: answers}; 499: the client closed the connection first."""
        self.latency = Histogram("tadp_request_seconds", "From the request's last byte to the answer.", _SECONDS)
        self.batch_sizes = Histogram("tadp_batch_size", "Images per batch.", _BATCHES)

    def text(self, queued: int, restarts: int) -> str:
        """`queued`: images that wait now; `restarts`: processes that were lost."""
        return "\n".join([*self._lines(queued, restarts), ""])

    def _lines(self, queued: int, restarts: int) -> Iterator[str]:
        yield from _head("tadp_requests_total", "Answers to requests for a prediction, by status.", "counter")
        yield from (f'tadp_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.requests.items()))
        yield from self.latency.lines()
        yield from self.batch_sizes.lines()
        errors = sum(count for status, count in self.requests.items() if status != 200)
        yield from _single("tadp_errors_total", "Answers that are no prediction.", "counter", errors)
        yield from _single("tadp_queue_length", "Images that wait for a batch.", "gauge", queued)
        description = "Processes with the model that ended before they answered."
        yield from _single("tadp_worker_restarts_total", description, "counter", restarts)


def _single(name: str, description: str, kind: str, value: int) -> Iterator[str]:
    yield from _head(name, description, kind)
    yield f"{name} {value}"


def _head(name: str, description: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {description}", f"# TYPE {name} {kind}"
