"""Reads what comes next while the model works on what was read."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items in order, each made in another thread while the caller works on the one before it."""

    def following() -> list[T]:
        return list(islice(items, 1))

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        coming = reader.submit(following)
        while item := coming.result():
            coming = reader.submit(following)
            yield from item
