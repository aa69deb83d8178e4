"""A run under way: side by side, watched, stopped, killed, resumed, checked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import rasterio
from small_run import hidden, products, same_products, start, wait_for

from hmavel import atomic, cli, config, journal, memory, run_lock, spread, workflow
from hmavel.errors import RunError, WriteError


@pytest.fixture
def copy(serial, tmp_path):
    """Return (configuration, output folder) of a copy of the finished run."""
    shutil.copytree(serial, tmp_path / "copy")
    return tmp_path / "copy" / "my.toml", tmp_path / "copy" / "out"


# ---- side by side --------------------------------------------------------------------------


def test_processes_make_the_bytes_of_the_serial_run(serial, serial_toml, tmp_path):
    toml = tmp_path / "my.toml"
    toml.write_text(serial_toml)
    result = workflow.run(config.load(toml), jobs=2)
    assert result.failures == []
    assert result.seconds["correlate"] > 0
    same_products(serial / "out", tmp_path / "out")
    workers = list((tmp_path / "out" / "log").glob("*/*.tsv"))
    assert len(workers) == 2  # each glacier was in a process of its own
    assert hidden(tmp_path / "out") == []


def glacier(name, pairs, rows, ice):
    image = SimpleNamespace(shape=(rows, rows))
    site = SimpleNamespace(id=name, image=image, ice=np.ones((1, ice), bool))
    return SimpleNamespace(site=site, pairs=[None] * pairs)


def test_memory_decides_how_many_work_side_by_side():
    many = [glacier(f"g{i}", 10 + i, 400, 1000) for i in range(6)]
    huge = glacier("huge", 500, 6000, 60_000)  # 500 x 60,000 x 48 bytes of months
    first, last = spread.groups([*many, huge], 4 * 2**30, jobs=4)
    assert [g.site.id for g in first.glaciers] == [f"g{i}" for i in range(5, -1, -1)]
    assert (first.share.workers, first.share.threads) == (4, 1)
    assert [g.site.id for g in last.glaciers] == ["huge"]
    assert (last.share.workers, last.share.threads) == (1, 4)
    for group in (first, last):
        assert group.share.workers * group.share.bytes <= 4 * 2**30
    settings = config.Config()
    for group in (first, last):
        for each in group.glaciers:
            need = spread.fixed_bytes(each, 1) + spread.scene_bytes(
                each, group.share, settings
            )
            assert need <= group.share.bytes
    (alone,) = spread.groups(many[:1], 2**40, jobs=8)
    assert (alone.share.workers, alone.share.threads) == (1, 8)


@pytest.mark.parametrize(
    ("text", "bytes_"), [("8G", 8 * 2**30), ("1.5 GiB", 3 * 2**29), ("800MB", 800 * 2**20)]
)
def test_sizes(text, bytes_):
    assert memory.parse(text) == bytes_


def test_the_limit_of_a_cgroup_counts(tmp_path):
    machine = memory.limit(tmp_path, tmp_path / "none")
    assert memory.parse("50%") <= machine // 2 + 1
    job = tmp_path / "slurm" / "job"
    job.mkdir(parents=True)
    (job / "memory.max").write_text("max\n")
    (tmp_path / "slurm" / "memory.max").write_text("123456789\n")
    own = tmp_path / "own"
    own.write_text("0::/slurm/job\n")
    assert memory.limit(tmp_path, own) == 123456789
    old = tmp_path / "memory" / "job"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("1000000\n")
    own.write_text("5:cpu,memory:/job\n3:freezer:/\n")
    assert memory.limit(tmp_path, own) == 1_000_000


@pytest.mark.parametrize("text", ["", "0G", "-1G", "lots", "120%", "1.2.3G", "9" * 400 + "G"])
def test_wrong_sizes_are_named(text):
    with pytest.raises(ValueError, match="expected a size"):
        memory.parse(text)


# ---- watched -------------------------------------------------------------------------------


def test_status_tells_what_was_done(copy, capsys):
    toml, out = copy
    assert cli.main(["run", str(toml), "--jobs", "1", "-q", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["failures"] == []
    assert cli.main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["finished"]
    assert not status["running"]
    assert status["counts"]["glacier"] == {"done": 2}
    assert status["counts"]["pair"] == {"kept": status["pairs"]}
    assert cli.main(["status", str(out)]) == 0
    text = capsys.readouterr().out
    assert "finished after" in text
    assert f"{status['pairs']} of {status['pairs']} pairs" in text
    (lines,) = (out / "log" / status["folder"]).glob("*.tsv")
    assert len(lines.read_text().splitlines()) == status["pairs"] + 2
    assert cli.main(["status", str(out.parent)]) == 2


def test_progress_counts_rates_and_failures(tmp_path):
    folder = journal.begin(tmp_path, command="hmavel run x")
    with run_lock.hold(tmp_path):
        planning = journal.read(tmp_path)
        assert "planning" in journal.status_text(planning)
        assert json.loads(journal.status_json(planning))["pairs"] is None
    journal.planned(tmp_path, glaciers=2, pairs=10)
    notes = journal.Journal(folder)
    for state in ("used", "used", "kept", "failed"):
        notes.line("pair", "a b", state, 1.0, "no\tsuch\nfile", "ReadError")
    notes.close()
    with run_lock.hold(tmp_path):
        status = journal.read(tmp_path)
    assert status.running
    assert status.pairs_done == 4
    assert status.reasons == {"ReadError": 1}
    assert journal.progress(status).startswith("4 of 10 pairs (1 from before), 0 of 2 glaciers")
    assert "1 failed" in journal.progress(status)
    for state in ("used",) * 7:  # a lost worker's: what it had is done by another
        notes.line("pair", "a b", state, 1.0)
    notes.close()
    assert journal.progress(journal.read(tmp_path)).startswith(
        "10 of 10 pairs (1 from before) (1 twice, their worker was lost), 0 of 2 glaciers"
    )
    stopped = journal.read(tmp_path)
    assert not stopped.running
    assert "stopped before its end" in journal.status_text(stopped)
    assert "to go on: hmavel run x" in journal.status_text(stopped)
    (lines,) = folder.glob("*.tsv")
    assert all(len(line.split("\t")) == 6 for line in lines.read_text().splitlines())


# ---- one at a time -------------------------------------------------------------------------


def test_a_second_driver_is_refused(copy, capsys):
    toml, out = copy
    before = products(out)
    with run_lock.hold(out):
        assert run_lock.held(out)
        assert cli.main(["run", str(toml), "--jobs", "1", "-q"]) == 2
        error = capsys.readouterr().err
        assert "expected no other run" in error
        assert f"process {os.getpid()}" in error
        with pytest.raises(RunError), run_lock.hold(out):
            pass
    assert not run_lock.held(out)
    assert products(out) == before


# ---- stopped and killed --------------------------------------------------------------------


def test_what_a_killed_process_left_is_swept(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with atomic.atomic_path(tmp_path / "a.tif") as mine:
        mine.write_text("x")
        other = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
        other.write_text("x")
        other.with_name(other.name + ".ovr.tmp").write_text("x")
        with atomic.temporary_folder(tmp_path / "b.tif") as parts:
            left = parts.with_name(parts.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
            left.mkdir()
            (left / "level.tif").write_text("x")
            elsewhere = mine.with_name(f".a.otherhost-{gone.pid}-7-0123456789ab.tif")
            elsewhere.write_text("x")
            assert atomic.sweep(tmp_path) == 3
            assert mine.exists()
            assert parts.exists()
    assert [path.name for path in hidden(tmp_path)] == [elsewhere.name]


def test_the_dead_and_those_whose_number_another_has_are_not_alive(tmp_path):
    """A killed worker stays a zombie while nobody waits for it: in a container for ever."""
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        began = {process: atomic._life(process.pid) for process in (zombie, alive)}
        assert began[zombie] == ""
        assert began[alive].isdigit()
        names = [f".a.{atomic._HOST}-{number}-{when}-0123456789ab.tif" for number, when in (
            (zombie.pid, 1234), (alive.pid, began[alive]), (alive.pid, int(began[alive]) - 1)
        )]  # fmt: skip
        for name in names:
            (tmp_path / name).write_text("x")
        assert atomic.sweep(tmp_path) == 2
        assert [path.name for path in hidden(tmp_path)] == [names[1]]
    finally:
        alive.communicate(b"\n")
        zombie.wait()


def test_sigterm_ends_it_soon_and_the_same_command_resumes(serial, serial_toml, tmp_path):
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(serial_toml)
    process = start(toml, "--jobs", "2")
    assert wait_for(out, process, 1)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"the same command resumes" in said
    # 10 s are promised; a loaded machine may need longer to get round to it
    assert time.monotonic() - begin < 30
    assert workflow.run(config.load(toml), jobs=1).failures == []
    same_products(serial / "out", out)
    assert hidden(out) == []


def made_once(out):
    """Every pair was matched once, over all runs: only what was in flight is done again."""
    lines = [line.split("\t") for path in out.glob("log/*/*.tsv")
             for line in path.read_text().splitlines()]  # fmt: skip
    made = Counter(item for _, kind, item, state, *_ in lines
                   if kind == "pair" and state in ("used", "rejected"))  # fmt: skip
    return max(made.values(), default=1) == 1


def test_what_a_lost_worker_left_is_swept_at_the_end(serial_toml, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(serial_toml)
    process = start(toml, "--jobs", "2", "-q")
    assert wait_for(out, process, 1)
    left = out / f".a.{atomic._HOST}-{gone.pid}-1-0123456789ab.tif"
    left.write_text("x")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert not left.exists()


def strike(process, rng):
    """Kill the driver or one of its processes."""
    import psutil

    family = psutil.Process(process.pid).children(recursive=True)
    victim = rng.choice([process, process, *family])
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    if victim is process:  # its workers notice and end
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []


@pytest.mark.slow
def test_killed_at_random_it_comes_to_the_same(serial, serial_toml, tmp_path):
    """``HMAVEL_KILLS=200`` for the long form.

    Whenever a run comes to its end, its bytes are compared and all begins anew, so that the
    kills fall into work and not into the skipping of it.
    """
    kills, rng = int(os.environ.get("HMAVEL_KILLS", "6")), random.Random(1)
    toml, out = tmp_path / "my.toml", tmp_path / "out"
    toml.write_text(serial_toml)
    struck = ended = 0
    while struck < kills or not ended:
        process = start(toml, "--jobs", rng.choice("12"), "-q")
        moment = rng.uniform(0.3, 9.0) if struck < kills else 300
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            strike(process, rng)
            struck += 1
        _, said = process.communicate(timeout=120)
        if process.returncode == -signal.SIGKILL:
            continue
        assert process.returncode == 0, said.decode()
        ended += 1
        same_products(serial / "out", out)
        assert made_once(out)
        assert hidden(out) == []
        shutil.rmtree(out)
    sys.stderr.write(f"{struck} kills, {ended} runs that came to their end\n")


# ---- disks ---------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(place, size):
    """Have a file system of that size at a folder; a test may unmount it before."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs rights that are not given here")
    yield
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    with mounted(place, "1m"):
        yield place


@pytest.mark.slow
def test_threads_within_processes_do_not_show(serial, serial_toml, tmp_path):
    toml = tmp_path / "my.toml"
    # 2 processes of 2 threads
    toml.write_text(serial_toml + '[run]\njobs = 5\nmemory = "12G"\n')
    result = workflow.run(config.load(toml))
    assert result.failures == []
    same_products(serial / "out", tmp_path / "out")


@pytest.mark.slow
def test_a_full_disk_fails_items_and_a_larger_one_resumes(
    serial, serial_toml, small_disk, tmp_path
):
    toml = tmp_path / "my.toml"
    toml.write_text(serial_toml.replace('"out"', f'"{small_disk}/out"'))
    given = config.load(toml)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 700_000)
    try:
        failures = [failure.reason for failure in workflow.run(given, jobs=1).failures]
    except WriteError as error:  # not even the tables could be written
        failures = [str(error)]
    assert any("space" in reason for reason in failures)
    remount = ["mount", "-o", "remount,size=200m", str(small_disk)]
    subprocess.run(remount, check=True)
    assert workflow.run(given, jobs=1).failures == []
    same_products(serial / "out", small_disk / "out")
    assert hidden(small_disk / "out") == []


def test_a_read_only_disk_is_named_at_once(serial_toml, small_disk, tmp_path, capsys):
    toml = tmp_path / "my.toml"
    toml.write_text(serial_toml.replace('"out"', f'"{small_disk}/out"'))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert cli.main(["run", str(toml), "-q"]) == 2
    assert "Read-only" in capsys.readouterr().err


# ---- checked -------------------------------------------------------------------------------


def test_verify_finds_what_was_changed_and_the_run_mends_it(serial, copy, capsys):
    toml, out = copy
    assert cli.main(["verify", str(out), "--sample", "1", "-q"]) == 0
    said = capsys.readouterr().out
    assert "1 pairs computed again" in said
    patterns = ("timeseries.csv", "velocity_*.json", "collection.json", "prior.json")
    beside = [path for name in patterns for path in out.glob(f"RGI*/{name}")]
    assert int(said.split()[0]) == len(products(out)) + len(beside)
    pair = sorted(out.rglob("pairs/*.tif"))[0]
    flipped = bytearray(pair.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    pair.write_bytes(flipped)
    month = sorted(out.glob("*/velocity_*.tif"))[0]
    month.write_bytes(month.read_bytes()[:-100])
    assert cli.main(["verify", str(out), "--sample", "0", "-q", "--mend"]) == 1
    said = capsys.readouterr().err
    assert pair.name in said
    assert month.name in said
    assert "failed (2)" in said
    assert workflow.run(config.load(toml), jobs=1).failures == []
    assert cli.main(["verify", str(out), "--sample", "0", "-q"]) == 0
    same_products(serial / "out", out)
    assert cli.main(["verify", str(toml.parent), "-q"]) == 2


@pytest.mark.parametrize("sly", [False, True])
def test_verify_finds_scenes_that_were_changed(archive, copy, capsys, sly):
    _, out = copy
    scene = sorted(archive.path.glob("scenes/**/*_B8.TIF"))[1]
    before, times = scene.read_bytes(), scene.stat()
    try:
        if sly:  # other pixels, with the size and the time of the old ones
            with rasterio.open(scene) as file:
                profile, pixels = file.profile, file.read()
            pixels[:, 100:200] = pixels[:, 100:101]  # packs into fewer bytes
            with rasterio.open(out / "other.TIF", "w", **profile) as file:
                file.write(pixels)
            other = (out / "other.TIF").read_bytes()
            assert len(other) < len(before)
            scene.write_bytes(other.ljust(len(before), b"\0"))
            os.utime(scene, ns=(times.st_atime_ns, times.st_mtime_ns))
        else:
            os.utime(scene, (0, 0))
        assert cli.main(["verify", str(out), "--products-only", "-q"]) == 0
        assert cli.main(["verify", str(out), "--sample", "99" if sly else "0", "-q"]) == 1
        said = capsys.readouterr().err
        assert scene.parent.name in said
        assert ("pixels and masks" if sly else "a time of change") in said
    finally:
        scene.write_bytes(before)
        os.utime(scene, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cli.main(["verify", str(out), "--sample", "0", "-q"]) == 0


def test_products_say_what_they_were_made_of(serial):
    out = serial / "out"
    folder = next(out.glob("RGI*"))
    used = [json.loads(path.read_text()) for path in folder.glob("pairs/*.json")]
    used = [record for record in used if record["state"] == "used"]
    scenes = {name: made for record in used for name, made in record["inputs"].items()}
    assert len(scenes) >= 2
    assert all(len(made) == 64 for made in scenes.values())
    with rasterio.open(next(folder.glob("pairs/*.tif"))) as file:
        named = json.loads(file.tags()["inputs"])
        assert named.items() <= scenes.items()
        assert "numpy" in file.tags()["libraries"]
    with netCDF4.Dataset(folder / "velocity.nc") as file:
        whole = json.loads(file.inputs)
        assert whole["scenes"] == scenes
    for month in folder.glob("velocity_*.tif"):
        with rasterio.open(month) as file:
            assert json.loads(file.tags()["inputs"])["sha256"] == whole["sha256"]
            assert "folder" not in json.loads(file.tags()["configuration"])["output"]
            months = file.tags()["fingerprint"]
    with rasterio.open(next((out / "wgs84").glob("*.tif"))) as file:
        assert json.loads(file.tags()["glaciers"])[folder.name] == months


def test_a_file_of_another_length_is_made_again_without_being_told(serial, copy):
    toml, out = copy
    pair = sorted(out.rglob("pairs/*.tif"))[0]
    pair.write_bytes(pair.read_bytes()[:200])
    result = workflow.run(config.load(toml), jobs=1)
    assert result.failures == []
    assert sum(each.made for each in result.glaciers) == 1
    same_products(serial / "out", out)


def test_a_folder_is_not_taken_for_a_run(tmp_path):
    assert journal.read(Path(tmp_path)) is None
    assert not run_lock.held(tmp_path)
