"""Broken copies of valid files, given to every parser: errors of the family, or values.

    python tests/fuzzing.py TARGET CASES [SEED]

runs one parser in a process of its own, under a limit of memory beyond what the libraries
take, and prints what it found as JSON. A crash or a hang is a finding like any other, and
another process goes on behind it. What was found once is kept in ``corpus/TARGET`` and read
first in every later run.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
#: Address space beyond that of the loaded libraries, bytes; seconds for one case.
MEMORY, PATIENCE = 1 << 30, 20
TOKENS = [
    b"", b"-1", b"0", b"1e308", b"-1e400", b"NaN", b"Infinity", b"9" * 400, b"2147483648",
    b"18446744073709551616", b"../", b"/../../etc/passwd", b"\0", b"\xff\xfe", b"\xef\xbb\xbf",
    b"'; DROP TABLE scenes; --", b"$(touch broken_out)", b"`id`", b"%s%n", b"[" * 300,
    b"{" * 300, b'"', b"'", b"\\", b"\n", b"\r\n", b",", b";", b"\t", b"=", b"null", b"true",
    b"0001-01-01", b"9999-12-31T23:59:60Z", b"&lol;", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"A" * 3000,
]  # fmt: skip


def mutated(seed: bytes, other: bytes, rng: random.Random) -> bytes:
    """Break a file in a few places."""
    out = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(out) + 1)
        length = min(len(out) - at, int(2 ** rng.uniform(0, 9)))
        kind = rng.randrange(8)
        if kind == 0:
            for _ in range(rng.randint(1, 4)):
                if out:
                    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 3:
            out[at:at] = rng.choice(TOKENS)
        elif kind == 4:
            token = rng.choice(TOKENS)
            out[at : at + len(token)] = token
        elif kind == 5:
            out[at:at] = out[at : at + length] * rng.choice((1, 1, 2, 20))
        elif kind == 6:
            del out[at:]
        else:
            start = rng.randrange(len(other) + 1)
            out[at : at + length] = other[start : start + length]
    return bytes(out)


# ---- the parsers: name -> (suffix, seeds, what to do with a file) ---------------------------


def _archive(folder: Path) -> Path:
    from hmavel import simulate

    simulate.archive(folder, seed=2, size=161, years=0.05, start="2021-06-01")
    return next(path for path in sorted((folder / "scenes").rglob("*_MTL.txt"))).parent


def _mtl(kind: str):
    def seeds(folder: Path) -> list[bytes]:
        product = _archive(folder)
        text = next(product.glob("*_MTL.txt")).read_bytes()
        if kind == "json":
            return [next(product.glob("*_MTL.json")).read_bytes(), text]
        return [text]

    def call(path: Path) -> None:
        from hmavel.mtl import read_mtl

        read_mtl(path)

    return f"_MTL.{kind}", seeds, call


def _names():
    def call(path: Path) -> None:
        from hmavel.mtl import parse_product_id

        found = parse_product_id(path.read_bytes().decode("utf-8", "surrogateescape"))
        assert found is None or not set(found.id) & set("/\\\0")

    seed = b"LC08_L1TP_140041_20130503_20200912_02_T1"
    return ".txt", lambda _: [seed, b"LC81400412013123LGN01", seed + b"_B8.TIF"], call


def _tiff():
    def seeds(folder: Path) -> list[bytes]:
        import numpy as np
        import rasterio

        made = []
        tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16, "predictor": 2}
        for name, options in (("a", {}), ("b", tiled), ("c", {"bigtiff": "yes"})):
            with rasterio.open(
                folder / name, "w", driver="GTiff", width=64, height=48, count=1,
                dtype="uint16", crs="EPSG:32645", nodata=0,
                transform=rasterio.Affine(15, 0, 450007.5, 0, -15, 3300007.5),
                compress="none" if name == "c" else "deflate", **options,
            ) as file:  # fmt: skip
                file.write(np.arange(64 * 48, dtype=np.uint16).reshape(1, 48, 64))
            made.append((folder / name).read_bytes())
        return made

    def call(path: Path) -> None:
        from hmavel.raster import open_raster

        with open_raster(path) as reader:
            rows, cols = reader.grid.shape
            window = reader.grid.crop(0, 0, min(rows, 64), min(cols, 64))
            reader.read(1, window=window)

    return ".TIF", seeds, call


def _netcdf():
    def seeds(folder: Path) -> list[bytes]:
        import numpy as np
        import xarray as xr
        from test_itslive import cube, granule

        made = [granule(folder / "granule.nc").read_bytes()]
        cube(pairs=2).to_netcdf(folder / "cube.nc")
        made.append((folder / "cube.nc").read_bytes())
        small = xr.Dataset({"vx": (("y", "x"), np.zeros((3, 4), np.float32))},
                           coords={"x": np.arange(4.0), "y": -np.arange(3.0)},
                           attrs={"epsg": 32646})  # fmt: skip
        for kind in ("NETCDF4", "NETCDF3_CLASSIC"):
            small.to_netcdf(folder / f"{kind}.nc", format=kind)
            made.append((folder / f"{kind}.nc").read_bytes())
        return made

    def call(path: Path) -> None:
        from hmavel import netcdf_trial
        from hmavel.errors import HmavelError
        from hmavel.itslive import read_pairs
        from hmavel.raster_netcdf import read_variables

        netcdf_trial.PATIENCE_S = 2.0  # less than the alarm, which C code does not hear
        with contextlib.suppress(HmavelError):
            read_variables(path, ("vx",))
        read_pairs([path])

    return ".nc", seeds, call


def _stac():
    def seeds(folder: Path) -> list[bytes]:
        from stac_items import item_of

        product = _archive(folder)
        kinds = ("asset", "item", "none")
        return [json.dumps(item_of(product, folder, projection=k)).encode() for k in kinds]

    def call(path: Path) -> None:
        from hmavel.stac import Search, open_stac
        from hmavel.stac_item import ItemOptions

        open_stac(str(path), Search(), ItemOptions())

    return ".json", seeds, call


def _gpkg():
    def seeds(folder: Path) -> list[bytes]:
        import geopandas as gpd
        from shapely.geometry import box

        frame = gpd.GeoDataFrame(
            {"rgi_id": ["RGI2000-v7.0-G-15-00001"], "area_km2": [1.0]},
            geometry=[box(86.0, 28.0, 86.02, 28.02)], crs=4326,
        )  # fmt: skip
        frame.to_file(folder / "a.gpkg", SPATIAL_INDEX="NO")
        frame.to_file(folder / "a.geojson")
        return [(folder / name).read_bytes() for name in ("a.gpkg", "a.geojson")]

    def call(path: Path) -> None:
        from hmavel.glaciers import read_glaciers

        read_glaciers(path)

    return ".gpkg", seeds, call


def _toml():
    def call(path: Path) -> None:
        from hmavel import config

        config.load(path)

    def seeds(_: Path) -> list[bytes]:
        from hmavel.config import template

        short = b'[input]\narchive = ["a"]\n[correlate]\nwindow = 32\n[run]\nmemory = "8G"\n'
        return [short, template().encode()[:3000]]

    return ".toml", seeds, call


def _csv():
    def call(path: Path) -> None:
        from hmavel.dated import open_dated

        open_dated(path)

    seed = (b"file,time,id,wrs,sensor,sun_azimuth,sun_elevation,b2\n"
            b"a_B8.TIF,2020-01-05T04:42:00Z,a,140/041,LC08,150,40,b\n"
            b"b.TIF,20200105,,,,,,\n")  # fmt: skip
    return ".csv", lambda _: [seed], call


def _state():
    def call(path: Path) -> None:
        from hmavel import state

        record = state.read_record(path)
        state.intact(record, path.parent)
        state.damaged(record, path.parent)
        state.is_done(path, "a", [path])

    seed = {"fingerprint": "a", "made": {"b": [3, "c"]}, "inputs": {"s": "d"}, "state": "used"}
    return ".json", lambda _: [json.dumps(seed).encode()], call


def _log():
    def call(path: Path) -> None:
        from hmavel import journal

        folder = path.parent / "out" / "log"
        folder.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        (folder / "run.json").write_bytes(content)
        (folder / "x").mkdir(exist_ok=True)
        (folder / "x" / "host-1.counts").write_bytes(content)
        status = journal.read(path.parent / "out")
        if status is not None:
            journal.status_text(status)
            journal.status_json(status)

    run = {"started": "2026-01-01T00:00:00+00:00", "folder": "x", "finished": None, "host": "h",
           "process": 1, "version": "0", "command": "c", "glaciers": 1, "pairs": 2,
           "failed": None, "error": None,
           "clock": {"time": 1e9, "monotonic": 1.0, "boot": "b"},
           "planned": {"time": 1e9, "monotonic": 2.0, "boot": "b"}}  # fmt: skip
    ended = run | {"finished": "2026-01-01T00:00:01+00:00", "seconds": 1.0, "failed": 0}
    planned = run | {"glaciers": None, "pairs": None}
    counts = {"counts": [["pair", "used", 3]], "seconds": {"pair": 1.0},
              "reasons": {"read: expected a file": 1}}  # fmt: skip
    kinds = [kind | counts for kind in (run, ended, planned)]
    return ".json", lambda _: [json.dumps(kind).encode() for kind in kinds], call


def _catalogue():
    def seeds(folder: Path) -> list[bytes]:
        from hmavel.catalogue import Catalogue
        from hmavel.scanning import scan

        _archive(folder)
        with Catalogue(folder / "c.sqlite") as made:
            scan(made, [folder / "scenes"])
        return [(folder / "c.sqlite").read_bytes()]

    def call(path: Path) -> None:
        from hmavel.catalogue import Catalogue

        for rest in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        with Catalogue(path) as made:
            made.scenes()
            made.left_out()
            made.glaciers()

    return ".sqlite", seeds, call


def _tar():
    def seeds(folder: Path) -> list[bytes]:
        import tarfile

        (folder / "a_MTL.txt").write_bytes(b"x" * 700)
        members = ["LC08/a_MTL.txt", "LC08/b_MTL.txt", "../outside_MTL.txt", "/tmp/outside"]
        for name, mode, count in (("a", "w", 2), ("b", "w:gz", 2), ("c", "w", 4)):
            with tarfile.open(folder / name, mode) as tar:
                for member in members[:count]:
                    tar.add(folder / "a_MTL.txt", member)
        return [(folder / name).read_bytes() for name in "abc"]

    def call(path: Path) -> None:
        from hmavel.tars import list_tar, read_member

        for member in list_tar(path):
            read_member(member)

    return ".tar", seeds, call


TARGETS = {
    "mtl": lambda: _mtl("txt"), "mtl_json": lambda: _mtl("json"), "names": _names,
    "tiff": _tiff, "netcdf": _netcdf, "stac": _stac, "gpkg": _gpkg, "toml": _toml,
    "csv": _csv, "state": _state, "log": _log, "catalogue": _catalogue, "tar": _tar,
}  # fmt: skip


# ---- one parser, many cases ----------------------------------------------------------------

#: Deaths of the process after which a parser is given up.
_DEATHS = 20


class Hang(Exception):  # noqa: N818 - not an error of the parser's
    """A case took too long."""


def case_of(number: int, seed: int, valid: list[bytes], kept: list[bytes]) -> bytes:
    """Return a case by its number alone: first the corpus, then broken copies."""
    if number < len(kept):
        return kept[number]
    rng = random.Random(f"{seed} {number - len(kept)}")
    return mutated(rng.choice(valid), rng.choice(valid + kept), rng)


def fuzz(target: str, cases: int, seed: int, folder: Path, first: int = 0) -> None:
    """Give a parser the corpus and then so many broken files, from number ``first`` on.

    Says in ``folder`` how far it has come (``at``: number, taken, refused, done), so that
    whoever began it can go on behind a case that killed it, and what it found.
    """
    from hmavel.errors import HmavelError

    def alarm(*_):
        raise Hang

    suffix, seeds, call = TARGETS[target]()
    (folder / "seeds").mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder / "seeds"))
    valid = seeds(made)
    kept = [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]
    place = folder / "work"
    place.mkdir(exist_ok=True)
    path = place / f"first{suffix}"
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, alarm)
    path.write_bytes(valid[0])
    with contextlib.suppress(HmavelError):
        call(path)  # loads what is to be loaded
    path.unlink()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    found, taken, refused = {}, 0, 0
    with (folder / "at").open("wb", buffering=0) as at:
        for number in range(first, len(kept) + cases):
            at.seek(0)
            at.write(struct.pack("4q", number, taken, refused, 0))
            given = case_of(number, seed, valid, kept)
            # Each has its own name: of one that a library has given up it may keep a handle,
            # and refuse whatever has that name later.
            path = place / f"case{number}{suffix}"
            path.write_bytes(given)
            signal.alarm(PATIENCE)
            try:
                call(path)
                taken += 1
            except HmavelError:
                refused += 1
            except (Exception, Hang) as error:
                where = traceback.extract_tb(error.__traceback__)
                where = [f for f in where if "hmavel" in f.filename][-1:] or where[-1:]
                spot = f"{Path(where[0].filename).name}:{where[0].lineno}"
                key = f"{type(error).__name__} at {spot}"
                if key not in found:
                    found[key] = f"case {number}: {error}"[:200]
                    (folder / f"found-{number}{suffix}").write_bytes(given)
                    (folder / "found.json").write_text(json.dumps(found))
            finally:
                signal.alarm(0)
            for left in place.glob(f"{path.name}*"):
                left.unlink()
        at.seek(0)
        at.write(struct.pack("4q", len(kept) + cases, taken, refused, 1))


def run(target: str, cases: int, seed: int, folder: Path) -> dict:
    """Do it in a process of its own; its death is a finding, and another one goes on."""
    suffix, _, _ = TARGETS[target]()
    folder.mkdir(parents=True, exist_ok=True)
    result = {"target": target, "cases": 0, "taken": 0, "refused": 0, "found": {}}
    begin = _child_seconds()
    first = 0
    for _ in range(_DEATHS):
        (folder / "at").unlink(missing_ok=True)
        (folder / "found.json").unlink(missing_ok=True)
        command = [sys.executable, __file__, "--child", target, str(cases), str(seed),
                   str(folder), str(first)]  # fmt: skip
        died = _end_of(command, folder / "at")
        if not (folder / "at").is_file():
            result["found"]["no start"] = died
            break
        number, taken, refused, done = struct.unpack("4q", (folder / "at").read_bytes())
        result["taken"] += taken
        result["refused"] += refused
        if (folder / "found.json").is_file():
            result["found"] |= json.loads((folder / "found.json").read_text())
        if done:
            break
        result["found"][f"case {number}"] = died
        killer = folder / "work" / f"case{number}{suffix}"
        killer.replace(folder / f"found-{killer.name[4:]}")
        first = number + 1
    result["cases"] = result["taken"] + result["refused"]
    if stray := sorted({p.name for p in (folder / "work").iterdir()} - {"out"}):
        result["found"]["files beside the case"] = ", ".join(stray[:5])
    result["cpu_ms_per_case"] = round(
        1e3 * (_child_seconds() - begin) / max(result["cases"], 1), 3
    )
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return result


def _end_of(command: list[str], at: Path) -> str:
    """Wait for a process; return how it ended. One that stays at a case is killed."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        last, since = b"", time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            now = at.read_bytes() if at.is_file() else b""
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > 6 * PATIENCE:
                process.kill()
                process.wait()
                return "a hang that no signal ends"
        said.seek(0)
        return f"exit {process.returncode}: " + said.read().decode(errors="replace")[-500:]


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    if sys.argv[1] == "--child":
        target, cases, seed, folder, first = sys.argv[2:]
        fuzz(target, int(cases), int(seed), Path(folder), int(first))
        return
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    folder = Path(sys.argv[4]) if len(sys.argv) > 4 else Path(tempfile.mkdtemp())
    result = run(sys.argv[1], int(sys.argv[2]), seed, folder)
    sys.stdout.write(json.dumps(result | {"folder": str(folder)}) + "\n")


if __name__ == "__main__":
    main()
