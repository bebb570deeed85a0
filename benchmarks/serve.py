"""Load test of `tadp serve`: throughput and latency at 1, 8 and 32 clients, and whether an answer was lost.

    python benchmarks/serve.py http://127.0.0.1:8000 photo.jpg --requests 1000 --pid "$(pgrep -f 'tadp serve')"

The key of a server that asks for one is read from TADP_SERVE_KEY.
"""

import argparse
import contextlib
import http.client
import os
import statistics
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of the server, e.g. http://127.0.0.1:8000")
    parser.add_argument("image", type=Path)
    parser.add_argument("--requests", type=int, default=1000, help="per number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--query", default="", help="e.g. caption=a%%20photo")
    parser.add_argument("--pid", type=int, help="of the server, whose memory is shown")
    options = parser.parse_args()
    body = options.image.read_bytes()
    print("clients  requests  lost  images/s  p50 ms  p95 ms  memory in MB before -> after")
    for clients in options.clients:
        before = memory(options.pid)
        start = time.perf_counter()
        times, lost = load(options, body, clients)
        rate = len(times) / (time.perf_counter() - start)
        p50, p95 = (1000 * value for value in percentiles(times))
        print(
            f"{clients:7}  {options.requests:8}  {lost:4}  {rate:8.1f}  {p50:6.0f}  {p95:6.0f}  "
            f"{before:.0f} -> {memory(options.pid):.0f}",
            flush=True,
        )


def load(options: argparse.Namespace, body: bytes, clients: int) -> tuple[list[float], int]:
    """Seconds of each answer, and the number of requests without a prediction."""
    times: list[float] = []
    left = iter(range(options.requests))
    lock, lost = threading.Lock(), [0]

    def client() -> None:
        parts = urlsplit(options.url)
        with contextlib.closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=300)) as connection:
            while take():
                ask_once(connection)

    def take() -> bool:
        with lock:
            return next(left, None) is not None

    def ask_once(connection: http.client.HTTPConnection) -> None:
        start = time.perf_counter()
        try:
            answered = ask(connection, options.query, body)
        except (OSError, http.client.HTTPException):
            connection.close()
            answered = False
        with lock:
            times.append(time.perf_counter() - start)
            lost[0] += not answered

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, lost[0]


def ask(connection: http.client.HTTPConnection, query: str, body: bytes) -> bool:
    """Whether the server predicted the image."""
    headers = {"Authorization": f"Bearer {os.environ.get('TADP_SERVE_KEY', '')}"}
    connection.request("POST", f"/predict?{query}", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200


def percentiles(times: list[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]


def memory(pid: int | None) -> float:
    """MB that the server and its processes hold; NaN where no process is named."""
    if pid is None:
        return float("nan")
    server = psutil.Process(pid)
    return sum(process.memory_info().rss for process in (server, *server.children(recursive=True))) / 1e6


if __name__ == "__main__":
    main()
