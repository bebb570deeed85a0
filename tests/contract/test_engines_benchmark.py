"""What `benchmarks/engines.py` measures, and its page."""

import subprocess
import sys

from engines import cpu_seconds_below, measured
from engines_page import engines

WRITER = """
import pathlib, sys, time
for count in range(1, 9):
    with open(sys.argv[1], "a") as file:
        file.write("line\\n")
    time.sleep(0.15)
"""


def test_rates_are_between_the_first_images_and_the_last(tmp_path):
    found = measured([sys.executable, "-c", WRITER, str(tmp_path / "lines")], tmp_path / "lines", 8)
    assert 0 < found["images_per_second"] < 8
    assert found["first_seconds"] < found["seconds"]
    assert found["first_cpu_seconds"] <= found["cpu_seconds"]


def test_cpu_seconds_are_of_all_processes_below():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in cpu_seconds_below(process.pid)
        assert 1 not in cpu_seconds_below(process.pid)
        process.stdin.close()


def test_the_page_compares_with_one_process():
    row = {"seconds": 9.0, "cpu_seconds": 8.0, "first_seconds": 4.0, "first_cpu_seconds": 3.0, "load": 2.0}
    row |= {"images_per_second": 20.0, "cpu_seconds_per_image": 0.0125}
    machine = {"commit": "abc", "device": "a processor", "torch": "2.11"}
    results = {"command": "c", "machine": machine, "images": 8, "batch_size": 4, "cores": 2}
    page = engines(results | {"rows": {"caption": {"local": row, "ray-1": row | {"cpu_seconds": 30.0}}}})
    assert "| one process | 4.0 | 3.0 | 20.0 | 12.5 | 9.0 | 8.0 |" in page
    assert "| Ray, 1 actor | 4.0 | 3.0 | 20.0 | 12.5 | 9.0 | 30.0 |" in page
    assert "took 22 CPU seconds more than one process" in page
