"""Whatever bytes come in: an error of the family or a value, never anything else.

``HMAVEL_FUZZ=100000`` gives every parser of `fuzzing` so many cases in the slow stage, and
every strategy here 60 or a hundredth of that.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import tarfile
from pathlib import Path

import fuzzing
import netCDF4
import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmavel import cli, config, journal, memory, simulate, state
from hmavel.archive import find_scenes
from hmavel.dated import open_dated
from hmavel.errors import HmavelError, ReadError
from hmavel.mtl import parse_product_id, read_mtl
from hmavel.raster import open_raster
from hmavel.raster_netcdf import read_variables
from hmavel.tars import MOST_TEXT, list_tar, read_member

GIVEN = int(os.environ.get("HMAVEL_FUZZ", "0"))
CASES = max(60, GIVEN // 100)
fuzz = settings(
    max_examples=CASES, deadline=None, derandomize="HMAVEL_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    LANDSAT_PRODUCT_ID = "LC08_L1TP_140041_20130503_20200912_02_T1"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    DATE_ACQUIRED = 2013-05-03
    SCENE_CENTER_TIME = "04:41:57.1234560Z"
    SUN_ELEVATION = 66.5
  END_GROUP = IMAGE_ATTRIBUTES
END_GROUP = LANDSAT_METADATA_FILE
END
"""
TOML = '[input]\narchive = ["a"]\n[correlate]\nwindow = 32\n[run]\nmemory = "8G"\n'


def mutated(text: bytes) -> st.SearchStrategy[bytes]:
    """Cut a valid file and put other bytes into it."""

    def apply(cuts: list[tuple[int, int, bytes]]) -> bytes:
        out = text
        for start, length, new in cuts:
            start %= len(out) + 1
            out = out[:start] + new + out[start + length :]
        return out

    cut = st.tuples(st.integers(0, len(text)), st.integers(0, 40), st.binary(max_size=40))
    return st.one_of(st.binary(max_size=400), st.lists(cut, min_size=1, max_size=4).map(apply))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@fuzz
@given(st.one_of(st.text(), st.from_regex(r"L[CO]0[89]_L1TP_\d{6}_\d{8}_\d{8}_0\d_T\d.*")))
def test_product_names(text: str) -> None:
    found = parse_product_id(text)
    assert found is None or "/" not in found.id


@fuzz
@given(mutated(MTL.encode()), st.sampled_from(["x_MTL.txt", "x_MTL.json", "x_MTL.xml"]))
def test_metadata(tmp_path: Path, content: bytes, name: str) -> None:
    with contextlib.suppress(HmavelError):
        read_mtl(written(tmp_path, name, content))


@fuzz
@given(mutated(TOML.encode()))
def test_configurations(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(HmavelError):
        config.load(written(tmp_path, "my.toml", content))


@fuzz
@given(mutated(json.dumps({"fingerprint": "a", "made": {"b": [3, "c"]}}).encode()))
def test_resumed_state(tmp_path: Path, content: bytes) -> None:
    record = state.read_record(written(tmp_path, "r.json", content))
    assert isinstance(record, dict)
    assert state.intact(record, tmp_path) in (True, False)


@fuzz
@given(mutated(b'{"started": "2026-01-01T00:00:00+00:00", "folder": "x", "finished": null}'))
def test_logs(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "log"
    folder.mkdir(exist_ok=True)
    written(folder, "run.json", content)
    status = journal.read(tmp_path)
    assert status is None or not status.running


@fuzz
@given(st.text(max_size=12))
def test_sizes(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert memory.parse(text) >= 0


@pytest.fixture(scope="module")
def tiff(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tiff") / "x.tif"
    transform = rasterio.Affine(15, 0, 450007.5, 0, -15, 3300007.5)
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=48, count=1, dtype="uint16",
        crs="EPSG:32645", transform=transform, compress="deflate",
    ) as file:  # fmt: skip
        file.write(np.arange(64 * 48, dtype=np.uint16).reshape(1, 48, 64))
    return path.read_bytes()


@fuzz
@given(st.data())
def test_rasters(tmp_path: Path, tiff: bytes, data: st.DataObject) -> None:
    path = written(tmp_path, "x.tif", data.draw(mutated(tiff)))
    try:
        with open_raster(path) as reader:
            small = reader.grid.crop(0, 0, 8, 8)
            assert reader.read(1, window=small)[0].shape == (8, 8)
    except HmavelError:
        pass


def test_a_small_file_that_declares_a_huge_image(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=1_000_000, height=1_000_000, count=1, dtype="uint16",
        crs="EPSG:32645", transform=rasterio.Affine(15, 0, 4e5, 0, -15, 3e6), tiled=True,
        blockxsize=16384, blockysize=16384, sparse_ok=True, bigtiff="YES",
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 2e6
    with open_raster(path) as reader:
        assert reader.grid.shape == (1_000_000, 1_000_000)
        assert not reader.read(1, window=reader.grid.crop(5, 5, 10, 10))[0].any()
        with pytest.raises(ReadError, match="one of 2000 GB by its header"):
            reader.read(1)


def test_a_small_netcdf_file_that_declares_a_huge_map(tmp_path: Path) -> None:
    path = tmp_path / "huge.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name in ("y", "x"):
            file.createDimension(name, 10**6)
            axis = file.createVariable(name, "f8", (name,), zlib=True)
            axis[:] = np.arange(10**6) * (1 if name == "x" else -1)
        file.createVariable("vx", "f4", ("y", "x"), chunksizes=(1000, 1000), zlib=True)
    assert path.stat().st_size < 6e6
    with pytest.raises(ReadError, match="one of 4000 GB by its header"):
        read_variables(path, ("vx",))


def test_bombs_are_read_to_a_limit(tmp_path: Path) -> None:
    """A packed tar of 60 KB with a metadata file of 60 MB; XML that doubles itself."""
    (tmp_path / "big").write_bytes(bytes(60_000_000))
    with tarfile.open(tmp_path / "bomb.tgz", "w:gz") as tar:
        tar.add(tmp_path / "big", "LC08_MTL.txt")
    (member,) = list_tar(tmp_path / "bomb.tgz")
    assert len(read_member(member)) == MOST_TEXT
    laughs = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">' + "".join(
        f'<!ENTITY {chr(99 + i)} "{f"&{chr(98 + i)};" * 10}">' for i in range(9)
    ) + '<!ENTITY z SYSTEM "file:///etc/passwd">]><a>&k;&z;</a>'  # fmt: skip
    for name in ("x_MTL.xml", "x_MTL.txt"):
        with pytest.raises(HmavelError):
            read_mtl(written(tmp_path, name, laughs.encode()))


def test_xml_beside_an_image_does_no_harm(tmp_path: Path, tiff: bytes) -> None:
    path = written(tmp_path, "x.tif", tiff)
    entity = '<!DOCTYPE a [<!ENTITY z SYSTEM "file:///etc/hostname">]>'
    content = f"{entity}<PAMDataset><SRS>&z;</SRS><Metadata>&z;</Metadata></PAMDataset>"
    written(tmp_path, "x.tif.aux.xml", content.encode())
    with contextlib.suppress(HmavelError), open_raster(path) as reader:
        assert reader.read(1)[0].shape == (48, 64)


@pytest.mark.parametrize(
    "content",
    [
        b'<VRTDataset rasterXSize="64" rasterYSize="48"><VRTRasterBand dataType="UInt16" '
        b'band="1"><SimpleSource><SourceFilename>SECRET</SourceFilename></SimpleSource>'
        b"</VRTRasterBand></VRTDataset>",
        b'<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:1/</ServerUrl></Service>'
        b"</GDAL_WMS>",
    ],
)
def test_what_is_called_a_tiff_is_one(tmp_path: Path, tiff: bytes, content: bytes) -> None:
    secret = written(tmp_path, "secret.tif", tiff)
    path = written(tmp_path, "B8.TIF", content.replace(b"SECRET", str(secret).encode()))
    with pytest.raises(ReadError, match=r"B8\.TIF: expected a raster file"), open_raster(path):
        pass


@pytest.mark.parametrize(
    "name",
    ["../../up", "a/b", "'; DROP TABLE scenes; --", "$(touch broken_out)", "a" * 101, "\0"],
)
def test_ids_of_a_table_name_no_other_place(tmp_path: Path, tiff: bytes, name: str) -> None:
    written(tmp_path, "x.tif", tiff)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "time", "id"), ("x.tif", "2020-01-05", name)])
    scenes, rejected = open_dated(tmp_path / "t.csv")
    assert scenes == []
    assert "letters, digits, dots and dashes" in rejected[0].reason


def test_words_for_shells_and_databases_in_names_are_only_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole run over an archive, inventory and output folder of such names."""
    root = tmp_path / "a'; DROP TABLE scenes; -- $(touch hurt) `touch hurt` %s"
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    simulate.archive(root, seed=3, size=201, years=0.1, start="2021-06-01")
    product = next(path for path in sorted((root / "scenes").iterdir()) if path.is_dir())
    product.rename(product.with_name(f"{product.name}; touch hurt; '"))
    toml = tmp_path / "my.toml"
    lines = [
        "[input]", f"archive = [{json.dumps(str(root / 'scenes'))}]",
        "[glaciers]", f"inventory = {json.dumps(str(root / 'glaciers.gpkg'))}",
        "min_area_km2 = 0.0",
        "[output]", f"folder = {json.dumps(str(root / 'out'))}",
    ]  # fmt: skip
    toml.write_text("\n".join(lines))
    before = {path.name for path in tmp_path.iterdir()}
    assert len(find_scenes([root / "scenes"])[0]) >= 2
    assert cli.main(["run", str(toml), "-q", "--jobs", "1"]) in (cli.DONE, cli.SOME_FAILED)
    assert "Traceback" not in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before
    assert not list(tmp_path.rglob("hurt"))


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(fuzzing.TARGETS))
def test_broken_files_of_every_kind(tmp_path: Path, target: str) -> None:
    result = fuzzing.run(target, GIVEN or 1000, GIVEN, tmp_path)
    assert result["found"] == {}
    assert result["cases"] >= (GIVEN or 1000)


@pytest.mark.parametrize("target", ["csv", "gpkg", "state", "tar", "toml"])
def test_what_was_found_once(tmp_path: Path, target: str) -> None:
    assert fuzzing.run(target, 100, 0, tmp_path)["found"] == {}
