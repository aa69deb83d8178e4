"""What signals do: a clean stop, at once when asked twice, whatever the program is deep in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from small_run import GLACIERS, hidden, same_products, settings_text, wait_for

from hmavel import cli, config, simulate, workflow

#: A command that is in C code for minutes and hears of nothing there, as a LAPACK call.
_DEAF = """
import hashlib, sys
from hmavel import cli
from hmavel.cli import commands, messages
from hmavel.atomic import atomic_path

def config(arguments):
    with atomic_path(arguments.out) as path:
        path.write_text("begun")
        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)

commands.config = config
messages._GRACE = float(sys.argv[1])
sys.exit(cli.main(["config", "--out", sys.argv[2]]))
"""


def deaf(grace, out, *, hang_up=signal.SIG_DFL):
    # What a process ignores its children ignore, too: these tests may run under nohup.
    former = signal.signal(signal.SIGHUP, hang_up)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _DEAF, str(grace), str(out)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, former)
    assert process.stdout.readline() == "begun\n"
    spent = psutil.Process(process.pid).cpu_times
    begun = spent().user
    while spent().user < begun + 0.05:  # until it is surely in there
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, cli.TERMINATED), (signal.SIGINT, cli.INTERRUPTED),
     (signal.SIGHUP, cli.HUNG_UP)],
)  # fmt: skip
def test_what_hears_of_no_signal_is_abandoned(tmp_path, number, status):
    process = deaf(0.2, tmp_path / "x.toml")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "abandoned the work in hand; the same command resumes" in said
    assert list(tmp_path.iterdir()) == []


def test_the_second_signal_ends_it_at_once(tmp_path):
    process = deaf(600, tmp_path / "x.toml")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert list(tmp_path.iterdir()) == []


def test_with_nohup_it_outlives_its_terminal(tmp_path):
    process = deaf(0.2, tmp_path / "x.toml", hang_up=signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.8)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == cli.TERMINATED


# ---- a whole run ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Return a configuration with a long learning of the months: many pairs, both axes."""
    root = tmp_path_factory.mktemp("archive")
    simulate.archive(root, seed=3, size=361, years=0.45, start="2021-06-01")
    text = settings_text(root, ids=GLACIERS[1:])
    return text.replace('"overlap"', '"gp"').replace("successors = 1", "successors = 2")


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    (folder / "my.toml").write_text(settings)
    assert workflow.run(config.load(folder / "my.toml"), jobs=1).failures == []
    return folder


def learning(out, pairs):
    """Tell whether a glacier has all its pairs and not yet its months."""
    lines = [line.split("\t") for path in out.glob("log/*/*.tsv")
             for line in path.read_text().splitlines()]  # fmt: skip
    done = {name: sum(kind == "pair" and item.startswith(name)
                      for _, kind, item, *_ in lines) for name in pairs}  # fmt: skip
    ended = {item for _, kind, item, *_ in lines if kind == "glacier"}
    return any(done[name] >= pairs[name] and name not in ended for name in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["matching", "months"])
@pytest.mark.parametrize("group", [False, True], ids=["driver", "terminal"])
def test_it_stops_within_ten_seconds(finished, settings, tmp_path, stage, group):
    """SIGTERM of the driver; Ctrl-C, which a terminal sends to the workers as well."""
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(settings)
    code = "import sys; from hmavel.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(toml), "--jobs", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    pairs = {path.name: len(list(path.glob("pairs/*.json")))
             for path in (finished / "out").glob("RGI*")}  # fmt: skip
    assert all(pairs.values())
    if stage == "matching":
        assert wait_for(out, process, 1)
    else:
        while not learning(out, pairs):
            assert process.poll() is None
            time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    begin = time.monotonic()
    if group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10  # what docs/operating.md promises
    assert process.returncode == (cli.INTERRUPTED if group else cli.TERMINATED)
    assert b"the same command resumes" in said
    assert b"Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert workflow.run(config.load(toml), jobs=1).failures == []
    same_products(finished / "out", out)
    assert hidden(out) == []
