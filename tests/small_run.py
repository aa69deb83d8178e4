"""Runs on the small simulated archive: their configurations, and what is compared of them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

from hmavel import config, run_lock

#: Glaciers of the archive; the configurations name some of them.
GLACIERS = tuple(f"RGI2000-v7.0-G-15-9000{n}" for n in (1, 2, 3))

_TEXT = """
[input]
archive = {archive}
[scenes]
{scenes}
[glaciers]
inventory = "{root}/glaciers.gpkg"
min_area_km2 = 1.0
margin_m = {margin_m}
ids = {ids}
[screening]
max_cloud = 0.6
[pairs]
successors = 1
per_year = 0
least_degree = 1
[bias]
{bias}
[months]
method = "overlap"
[output]
folder = "out"
wgs84 = {wgs84}
"""


def settings_text(
    root, *, ids=GLACIERS[2:], margin_m=600, bias='model = "constant"\nmin_count = 10',
    wgs84=False, archive=None, scenes="",
):  # fmt: skip
    """Return the TOML of a quick run; ``archive`` and ``scenes`` where not the folders'."""
    places = [f"{root}/scenes"] if archive is None else [str(place) for place in archive]
    return _TEXT.format(
        root=root, ids=json.dumps(list(ids)), margin_m=margin_m, bias=bias,
        wgs84=json.dumps(wgs84), archive=json.dumps(places), scenes=scenes,
    )  # fmt: skip


def one_glacier(root, folder, **sections):
    """Write ``my.toml`` of a run on a glacier with more bare ground; return the settings."""
    path = folder / "my.toml"
    path.write_text(
        settings_text(root, margin_m=1200, bias='model = "constant"\nmin_count = 15')
    )
    return changed(config.load(path), **sections)


def changed(given, **sections):
    """Return the settings with other values in some sections."""
    update = {name: getattr(given, name).model_copy(update=to) for name, to in sections.items()}
    return given.model_copy(update=update)


# ---- a run from outside ----------------------------------------------------------------------


def start(toml, *options):
    """Start ``hmavel run`` in a process of its own."""
    code = "import sys; from hmavel.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", str(toml), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(out, process, lines):
    """Wait until the run has noted so many tasks; False when it has ended before."""
    while process.poll() is None:
        written = sum(path.read_text().count("\n") for path in out.glob("log/*/*.tsv"))
        if written >= lines:
            return True
        time.sleep(0.02)
    return False


# ---- what it has written ---------------------------------------------------------------------


def rows(path):
    """Return the rows of a table."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def stamps(folder):
    """Raster -> when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}


def products(folder, kinds=(".tif", ".nc")):
    """Product -> its bytes; NetCDF and mosaics too. The logs tell of times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in kinds and path.is_file() and "log" not in path.parts
    }


def same_products(folder, other, *, struck=False):
    """Compare all products, tables and records to the byte: only the logs tell of times.

    ``struck``: a process of the other run was killed, and may have left temporaries.
    """
    kinds = (".tif", ".nc", ".csv", ".json")
    one, two = products(folder, kinds), products(other, kinds)
    if struck:
        two = {name: two[name] for name in two if not Path(name).name.startswith(".")}
    assert {Path(path).suffix for path in one} == set(kinds)
    assert set(one) == set(two)
    assert [name for name in one if one[name] != two[name]] == []


def hidden(folder):
    """Return what is left over of files that were being written."""
    return [path for path in folder.rglob(".*") if path.name != run_lock.FILE]
