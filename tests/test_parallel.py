"""Order, failures and the death of a worker in ``parallel.map``."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

import pytest

from hmavel import parallel
from hmavel.errors import ReadError
from hmavel.parallel import Failure


def invert(x: int) -> float:
    if x == 3:
        raise ReadError("read", "three.tif", expected="a number", got="3", hint="try 4")
    return 1 / x


def die_on_two(x: int) -> int:
    if x == 2:
        os._exit(1)
    return x * x


@pytest.mark.parametrize("workers", ["threads", "processes"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_failures_keep_their_place_and_the_rest_its_results(workers, jobs):
    results = parallel.map(invert, [1, 0, 2, 3, 4], jobs=jobs, workers=workers)
    assert [results[i] for i in (0, 2, 4)] == [1.0, 0.5, 0.25]
    zero, three = results[1], results[3]
    assert isinstance(zero, Failure)
    assert zero.item == "0"
    assert "ZeroDivisionError" in zero.reason
    assert isinstance(three, Failure)
    assert three.error == "ReadError"
    assert str(three) == "3: read three.tif: expected a number, got 3; try 4"


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_results_are_kept_here_as_they_come(workers):
    kept, here = {}, threading.get_ident()

    def keep(item: int, result: float) -> None:
        assert threading.get_ident() == here
        if item == 4:
            raise OSError("no room")
        kept[item] = result

    results = parallel.map(invert, [1, 2, 3, 4, 0], jobs=2, workers=workers, keep=keep)
    assert kept == {1: 1.0, 2: 0.5}  # neither what failed nor what could not be kept
    assert results[:2] == [1.0, 0.5]
    assert [type(result) for result in results[2:]] == [Failure] * 3
    assert results[3].reason == "OSError: no room"


def test_a_dead_worker_costs_only_its_item():
    results = parallel.map(
        die_on_two, [1, 2, 3, 4], jobs=2, workers="processes", name=lambda x: f"item {x}"
    )
    assert [results[i] for i in (0, 2, 3)] == [1, 9, 16]
    dead = results[1]
    assert isinstance(dead, Failure)
    assert dead.item == "item 2"
    assert "died" in dead.reason


GROW = """
import time
import numpy
from hmavel import parallel

def grow(x):  # the function travels with each item: what is to stay hangs on a module
    numpy.kept = [*getattr(numpy, "kept", []), numpy.ones(15_000_000)]  # 120 MB
    time.sleep(0.4)
    return x

assert parallel.map(grow, range(16), jobs=2, workers="processes") == list(range(16))
"""


def test_a_worker_that_is_replaced_for_its_memory_does_not_hang_the_run():
    # joblib warns of it in a thread that must not die of the warning
    subprocess.run([sys.executable, "-W", "error", "-c", GROW], check=True, timeout=90)


ORPHANS = """
import time
from hmavel import parallel

def tell(x):
    print(x, flush=True)
    time.sleep(60)

parallel.map(tell, [1, 2], jobs=2, workers="processes")
"""


def test_workers_end_with_a_driver_that_is_killed():
    import psutil

    process = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE)
    process.stdout.readline()  # one has a task, the other may not have got so far
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.kill()
    process.communicate(timeout=20)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_threads_share_memory_and_run_together():
    barrier = threading.Barrier(2, timeout=20)  # breaks unless two items run at a time
    results = parallel.map(lambda _: barrier.wait() in (0, 1), [0, 1], jobs=2)
    assert results == [True, True]


def test_an_interrupt_is_not_a_failure():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel.map(interrupt, [1])


def test_log_lines_where_there_is_no_terminal(caplog):
    caplog.set_level(logging.INFO, logger="hmavel.parallel")
    parallel.map(invert, [1, 0], label="numbers")
    assert caplog.messages[-1].startswith("numbers: 2 of 2 in")
    assert caplog.messages[-1].endswith("1 failed")


def test_jobs_zero_means_every_core_and_no_items_no_work():
    assert parallel.cores() >= 1
    assert parallel.map(invert, [1, 2], jobs=0) == [1.0, 0.5]
    assert parallel.map(invert, [], jobs=4) == []


def test_attempt_keeps_a_result_or_names_the_failure():
    assert parallel.attempt(lambda: 7, "seven") == 7
    failure = parallel.attempt(lambda: invert(0), "glacier X")
    assert isinstance(failure, Failure)
    assert str(failure) == "glacier X: ZeroDivisionError: division by zero"
