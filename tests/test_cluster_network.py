"""Workers behind links of their own, which are cut in mid-task: network namespaces, as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from small_run import GLACIERS, hidden, same_products, settings_text

from hmavel import config, workflow

pytest.importorskip("distributed")

_SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
_WORKER = "from distributed.cli.dask_worker import main; main()"
_DRIVER = "import sys; from hmavel.cli import main; sys.exit(main(sys.argv[1:]))"
_HUB = f"hmv{os.getpid()}"
_WORKERS = 3


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


class Network:
    """A hub with scheduler and driver; a namespace for each worker, joined by veth pairs."""

    def __init__(self):
        self.all, self.workers = [], {}

    def build(self):
        """Return why it cannot be built, "" when it stands."""
        names = [_HUB, *(f"{_HUB}w{n}" for n in range(_WORKERS))]
        steps = [["netns", "add", name] for name in names]
        steps += [["-n", name, "link", "set", "lo", "up"] for name in names]
        for n, name in enumerate(names[1:]):
            near, far = f"v{n}", f"w{n}"
            steps += [
                ["-n", _HUB, "link", "add", near, "type", "veth", "peer", "name", far,
                 "netns", name],
                ["-n", _HUB, "addr", "add", f"10.203.{n}.1/24", "dev", near],
                ["-n", name, "addr", "add", f"10.203.{n}.2/24", "dev", far],
                ["-n", _HUB, "link", "set", near, "up"],
                ["-n", name, "link", "set", far, "up"],
                ["-n", name, "route", "add", "default", "via", f"10.203.{n}.1"],
            ]  # fmt: skip
        for step in steps:
            done = ip(*step)
            if done.returncode:
                return f"ip {' '.join(step)}: {done.stderr.strip()}"
        return ""

    def start(self, namespace, code, *arguments, **options):
        command = ["ip", "netns", "exec", namespace, sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, **options)
        self.all.append(process)
        return process

    def begin(self):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.start(_HUB, _SCHEDULER, "--host", "0.0.0.0", "--port", "8786", "--no-dashboard",
                   **quiet)  # fmt: skip
        for n in range(_WORKERS):
            process = self.start(
                f"{_HUB}w{n}", _WORKER, f"tcp://10.203.{n}.1:8786", "--nthreads", "1",
                "--no-nanny", "--no-dashboard", "--host", f"10.203.{n}.2", **quiet,
            )
            self.workers[process.pid] = f"v{n}"

    def link(self, device, state):
        done = ip("-n", _HUB, "link", "set", device, state)
        assert done.returncode == 0, done.stderr

    def end(self):
        for process in self.all:
            process.kill()
            process.wait()
        for name in (_HUB, *(f"{_HUB}w{n}" for n in range(_WORKERS))):
            ip("netns", "del", name)


@pytest.fixture
def network():
    if shutil.which("ip") is None or os.geteuid():
        pytest.skip("network namespaces need ip and root")
    made = Network()
    try:
        if why := made.build():
            pytest.skip(f"no network namespaces here: {why}")
        made.begin()
        yield made
    finally:
        made.end()


def first_worker(out):
    """Return the process that has noted the first pair, when there is one."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        for path in out.glob("log/*/*.tsv"):
            with contextlib.suppress(OSError):
                if "\tpair\t" in path.read_text():
                    return int(path.stem.rsplit("-", 1)[1])
        time.sleep(0.02)
    raise AssertionError("no worker has begun")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5, None], ids=["restored", "for good"])
def test_a_link_that_is_cut_in_mid_task(network, archive, tmp_path, seconds):
    """Its worker goes on and nobody hears of it: the glacier is given to another one."""
    text = settings_text(archive.path, ids=GLACIERS)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "my.toml").write_text(text)
    assert workflow.run(config.load(alone / "my.toml"), jobs=1).failures == []
    toml = tmp_path / "my.toml"
    toml.write_text(text + "[run]\npatience_minutes = 0.4\n")
    driver = network.start(
        _HUB, _DRIVER, "run", str(toml), "--scheduler", "tcp://127.0.0.1:8786", "-q",
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    device = network.workers[first_worker(tmp_path / "out")]
    network.link(device, "down")
    if seconds:
        threading.Timer(seconds, network.link, (device, "up")).start()
    _, said = driver.communicate(timeout=400)
    assert driver.returncode == 0, said.decode()[-2000:]
    if not seconds:
        assert b"gave no sign of life" in said or b"its worker is gone" in said
    same_products(alone / "out", tmp_path / "out", struck=True)
    network.end()
    assert workflow.run(config.load(toml), jobs=1).failures == []
    assert hidden(tmp_path / "out") == []
