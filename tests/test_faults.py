"""What may break under a run: a mount that goes, a cache that rots, a clock that jumps."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import hidden, same_products, start, wait_for
from test_operating import mounted

from hmavel import atomic, cli, config, journal, run_lock, workflow
from hmavel.catalogue import FILE
from hmavel.errors import HmavelError, WriteError


@pytest.fixture
def copy(serial, tmp_path):
    shutil.copytree(serial, tmp_path / "copy")
    return config.load(tmp_path / "copy" / "my.toml"), tmp_path / "copy" / "out"


def rot(path):
    """Overwrite the middle of a file, whose length stays."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)


# ---- caches --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "how"),
    [("*/pairs/*.json", "cut"), ("*/pairs/*.json", "other"), ("*/months.json", "rot"),
     ("*/network.json", "empty")],
)  # fmt: skip
def test_a_damaged_record_costs_its_work_and_no_more(serial, copy, pattern, how):
    given, out = copy
    path = sorted(out.glob(pattern))[0]
    if how == "rot":
        rot(path)
    else:
        content = path.read_bytes()
        new = {"cut": content[: len(content) // 3], "empty": b"", "other": b'{"made": 3}'}
        path.write_bytes(new[how])
    assert workflow.run(given, jobs=1).failures == []
    same_products(serial / "out", out)


@pytest.mark.parametrize("how", ["rot", "cut", "text"])
def test_a_damaged_catalogue_is_named_and_made_anew_when_moved_away(
    serial, copy, capsys, how
):
    given, out = copy
    path = out / FILE
    content = path.read_bytes()
    changed = {
        "rot": content[:100] + bytes(3000) + content[3100:], "cut": content[:5000],
        "text": b"no database at all" * 300,
    }  # fmt: skip
    path.write_bytes(changed[how])
    assert cli.main(["run", str(out.parent / "my.toml"), "-q", "--jobs", "1"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "move it away" in said or "choose another output folder" in said
    path.unlink()
    assert workflow.run(given, jobs=1).failures == []
    same_products(serial / "out", out)


def test_a_catalogue_of_the_day_before_is_caught_up(serial, copy):
    given, out = copy
    with sqlite3.connect(out / FILE) as base:
        base.execute("DELETE FROM decisions")
        base.execute("DELETE FROM pairs")
    base.close()
    assert workflow.run(given, jobs=1).failures == []
    same_products(serial / "out", out)


# ---- disks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [errno.EDQUOT, *(pytest.param(code, marks=pytest.mark.slow)
                     for code in (errno.ENOSPC, errno.EIO, errno.ESTALE))],
)  # fmt: skip
def test_what_a_disk_may_refuse_fails_items_and_leaves_nothing(
    serial, serial_toml, tmp_path, monkeypatch, code
):
    """A quota, a full or faulty disk, a lost server: at every third flush, then never again."""
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(serial_toml)
    calls = iter(range(10**9))
    flush = atomic._flush

    def refuse(path):
        if path.suffix in (".tif", ".nc") and next(calls) % 3 == 1:
            raise OSError(code, os.strerror(code), str(path))
        flush(path)

    monkeypatch.setattr(atomic, "_flush", refuse)
    failures = workflow.run(config.load(toml), jobs=1).failures
    assert failures
    assert any(os.strerror(code) in failure.reason for failure in failures)
    assert hidden(out) == []
    monkeypatch.undo()
    assert workflow.run(config.load(toml), jobs=1).failures == []
    same_products(serial / "out", out)


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "50m"):
        yield place


@pytest.mark.slow
def test_a_disk_that_vanishes_ends_the_run_in_words(serial, serial_toml, disk, tmp_path):
    toml = tmp_path / "my.toml"
    toml.write_text(serial_toml.replace('"out"', f'"{disk}/out"'))
    process = start(toml, "--jobs", "1", "-q")
    assert wait_for(disk / "out", process, 1)
    subprocess.run(["umount", "-l", str(disk)], check=True)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (1, 2), said
    assert b"Traceback" not in said
    # what was written since went to the bare mount point: the same command makes it whole
    assert workflow.run(config.load(toml), jobs=1).failures == []
    same_products(serial / "out", disk / "out")


# ---- clocks --------------------------------------------------------------------------------


def test_a_clock_that_jumps_changes_no_byte(serial, serial_toml, tmp_path, monkeypatch):
    """Between any two looks at it, the wall clock goes a day forth or two days back."""
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(serial_toml)
    true, looks = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: true() + 86_400 * (1 - 3 * (next(looks) % 2)))
    assert workflow.run(config.load(toml), jobs=1).failures == []
    same_products(serial / "out", out)
    status = journal.read(out)
    assert status is not None
    assert journal.status_text(status)
    monkeypatch.undo()
    # files from the future and from long ago are what their records say they are
    for age, path in zip((-(10**6), 10**9), sorted(out.rglob("pairs/*.tif")), strict=False):
        os.utime(path, (true() - age, true() - age))
    again = workflow.run(config.load(toml), jobs=1)
    assert again.failures == []
    assert sum(each.made for each in again.glaciers) == 0


# ---- two drivers, and one that is told to stop ---------------------------------------------


@pytest.mark.slow
def test_of_two_drivers_at_one_moment_one_works_and_one_is_told(serial, serial_toml, tmp_path):
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(serial_toml)
    both = [start(toml, "--jobs", "1", "-q") for _ in range(2)]
    said = [process.communicate(timeout=200)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], said
    assert b"expected no other run" in said[codes.index(2)]
    same_products(serial / "out", out)
    assert hidden(out) == []


def test_a_lock_is_not_inherited_by_what_a_run_starts(tmp_path):
    with run_lock.hold(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not run_lock.held(tmp_path)
        with run_lock.hold(tmp_path):
            pass
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_a_write_error_says_which_disk(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(WriteError, match="check permissions, free space"):
        atomic.write_text(Path(tmp_path / "taken" / "x"), "x")
    assert issubclass(WriteError, HmavelError)
