"""The run on a Dask cluster over TCP: the serial run's bytes, whatever happens to workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from small_run import GLACIERS, hidden, same_products, settings_text

from hmavel import cluster, config, workflow
from hmavel.errors import RunError

pytest.importorskip("distributed")

_SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
_WORKER = "from distributed.cli.dask_worker import main; main()"
_OTHER_VERSION = "import hmavel; hmavel.__version__ = '9.9.9'; " + _WORKER


class Processes:
    """A scheduler and workers on the loopback, ended at the end."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.all = []

    def start(self, code, *arguments):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], **quiet)
        self.all.append(process)
        return process

    def scheduler(self):
        options = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        return self.start(_SCHEDULER, *options)

    def worker(self, code=_WORKER):
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        return self.start(code, self.address, *options)

    def end(self):
        for process in self.all:
            process.kill()
            process.wait()


@pytest.fixture
def processes():
    made = Processes()
    yield made
    made.end()


@pytest.fixture(scope="module")
def settings(archive):
    return settings_text(archive.path, ids=GLACIERS)


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    (folder / "my.toml").write_text(settings)
    result = workflow.run(config.load(folder / "my.toml"), jobs=1)
    assert result.failures == []
    return folder / "out"


def prepared(settings, folder, patience=60.0):
    (folder / "my.toml").write_text(settings + f"[run]\npatience_minutes = {patience}\n")
    return config.load(folder / "my.toml")


def once_begun(out, act):
    """Do something as soon as the run has noted its first task."""

    def watch():
        end = time.monotonic() + 120
        while time.monotonic() < end:
            lines = [path for path in out.glob("log/*/*.tsv") if path.stat().st_size]
            if lines:
                act(lines[0])
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_killed_and_a_hung_worker_cost_only_time(processes, settings, alone, tmp_path):
    given = prepared(settings, tmp_path, patience=0.7)
    processes.scheduler()
    for _ in range(3):
        processes.worker()
    struck = []

    def strike(path):
        # whoever wrote the first line dies in its task, another one falls asleep
        struck.append(int(path.stem.rsplit("-", 1)[1]))
        os.kill(struck[0], signal.SIGKILL)
        others = [w.pid for w in processes.all[1:] if w.pid != struck[0]]
        os.kill(others[0], signal.SIGSTOP)

    once_begun(tmp_path / "out", strike)
    result = workflow.run(given, scheduler=processes.address)
    assert result.failures == []
    assert len(struck) == 1
    same_products(alone, tmp_path / "out", struck=True)
    # those who were struck left temporaries: the next run removes them
    processes.end()
    assert workflow.run(given, jobs=1).failures == []
    assert hidden(tmp_path / "out") == []


def falls_asleep(folder, answer):
    """Return an answer that the first worker to be here stops in when it is to send it."""

    class Answer:
        def __reduce__(self):
            os.kill(os.getpid(), signal.SIGSTOP)
            return tuple, (answer,)

    try:
        os.close(os.open(folder / "first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return answer
    return Answer()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["its name", "its result"])
def test_a_worker_that_hangs_with_its_answer_holds_up_nothing(
    processes, tmp_path, monkeypatch, what
):
    cloudpickle = pytest.importorskip("cloudpickle")
    monkeypatch.setattr(cluster, "FIRST_WORKER", 20.0)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers lack this file
    who = cluster._who

    def named(wanted, load):
        ask = who(wanted, load)
        return lambda: falls_asleep(tmp_path, ask())

    def attempt(index, item):
        answer = (index, item * item)
        return falls_asleep(tmp_path, answer) if what == "its result" else answer

    if what == "its name":
        monkeypatch.setattr(cluster, "_who", named)
    processes.scheduler()
    for _ in range(2):
        processes.worker()
    given = cluster.Cluster(processes.address, patience=15.0)
    found, when = {}, []
    for index, answer in cluster.run_on(given, attempt, range(6)):
        found[index] = answer
        when.append(time.time())
    assert found == {i: i * i for i in range(6)}
    # Five did not wait for the sixth, which a minute was waited for at a time.
    assert when[4] - (tmp_path / "first").stat().st_mtime < 50


@pytest.mark.slow
def test_a_scheduler_that_comes_back_is_used_again(processes, settings, alone, tmp_path):
    given = prepared(settings, tmp_path)
    first = processes.scheduler()
    processes.worker()

    def restart(_):
        first.kill()
        first.wait()
        processes.scheduler()
        processes.worker()

    watch = once_begun(tmp_path / "out", restart)
    result = workflow.run(given, scheduler=processes.address)
    watch.join()
    assert result.failures == []
    same_products(alone, tmp_path / "out")


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused(processes, settings, tmp_path):
    given = prepared(settings, tmp_path)
    processes.scheduler()
    processes.worker(_OTHER_VERSION)
    with pytest.raises(RunError, match=r"hmavel 9\.9\.9"):
        workflow.run(given, scheduler=processes.address)


def test_no_scheduler_is_said_so(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = cluster.Cluster(f"tcp://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(RunError, match="expected a Dask scheduler"):
            list(cluster.run_on(nobody, lambda i, item: (i, item), [1]))
