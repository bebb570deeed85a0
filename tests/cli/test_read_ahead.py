"""Reading and computing overlap, in order, and what fails while reading is raised by the caller's own call."""

import threading

import pytest

from tadp_cli.inputs.read_ahead import read_ahead


def test_the_next_item_is_read_while_one_is_worked_on():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    seen = []
    for number in read_ahead(items()):
        assert made[min(number + 1, 2)].wait(timeout=10), "read although this one is not done"
        seen.append(number)
    assert seen == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise MemoryError("too large")

    seen = []
    with pytest.raises(MemoryError, match="too large"):
        seen.extend(read_ahead(items()))
    assert seen == [1]


def test_who_stops_early_leaves_no_thread():
    for _ in read_ahead(iter(range(5))):
        break
    assert not [thread for thread in threading.enumerate() if "read-ahead" in thread.name]
