"""The three files of a pair."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from hmavel._types import Displacement, Grid, Pair, Quality
from hmavel.errors import WriteError
from hmavel.product.pair_files import write_pair
from hmavel.product.provenance import plain
from hmavel.velocity import to_velocity

PIXELS = Grid(CRS.from_epsg(32645), Affine(15, 0, 480000, 0, -15, 3100005), (96, 128))


def made(step: int = 8, rows: int | None = None):
    """A displacement whose node (i, j) moved by (i, j) hundredths of a pixel."""
    row = np.arange(0, 96, step)[:rows] + (step - 1) / 2
    col = np.arange(0, 128, step) + (step - 1) / 2
    i, j = np.meshgrid(np.arange(len(row)), np.arange(len(col)), indexing="ij")
    quality = np.zeros(i.shape, np.uint8)
    quality[0, 0] = Quality.INCOHERENT
    nan = np.where(quality == 0, 0.0, np.nan)
    d = Displacement(
        drow=(0.01 * i + nan).astype("f4"),
        dcol=(0.01 * j + nan).astype("f4"),
        sigma_row=np.full(i.shape, 0.05, "f4"),
        sigma_col=np.full(i.shape, 0.04, "f4"),
        snr=np.full(i.shape, 0.9, "f4"),
        coherence=np.full(i.shape, 0.8, "f4"),
        quality=quality,
        row=row,
        col=col,
    )
    image = np.zeros(PIXELS.shape, "f4")
    start = np.datetime64("2016-07-18T20:40:48.253", "ms")
    pair = Pair("A", "B", start, start + np.timedelta64(16, "D"), image, image, PIXELS)
    return d, to_velocity(d, pair)


def test_bands_units_and_signs(tmp_path):
    d, velocity = made()
    paths = write_pair(tmp_path / "new", d, velocity, {})
    with rasterio.open(paths[0]) as file:
        assert file.descriptions == (
            "east", "north", "snr", "coherence", "sigma_east", "sigma_north", "quality",
        )  # fmt: skip
        assert file.units == ("m", "m", "1", "1", "m", "m", "1")
        assert set(file.dtypes) == {"float32"}
        assert np.isnan(file.nodata)
        east, north = file.read(1), file.read(2)
        assert np.allclose(east, d.dcol * 15, equal_nan=True)
        assert np.allclose(north, -d.drow * 15, equal_nan=True)
        assert np.isnan(east[0, 0])
        assert file.read(7)[0, 0] == Quality.INCOHERENT
        assert file.read(5) == pytest.approx(0.6)
    with rasterio.open(paths[1]) as file:
        assert file.descriptions == ("vx", "vy", "v", "sigma_vx", "sigma_vy")
        assert file.units == ("m/yr",) * 5
        assert np.allclose(file.read(1), east / 16 * 365.25, equal_nan=True)
        assert np.allclose(file.read(3), np.hypot(file.read(1), file.read(2)), equal_nan=True)
        assert file.tags()["reference_id"] == "A"
    for path in paths[:2]:
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (errors, warnings)


@pytest.mark.parametrize(("step", "rows"), [(8, None), (4, None), (8, 1)])
def test_cell_centres_lie_on_the_nodes(tmp_path, step, rows):
    d, velocity = made(step, rows)
    path = write_pair(tmp_path, d, velocity, {})[0]
    with rasterio.open(path) as file:
        for i, j in ((0, 0), (len(d.row) - 1, 5)):
            # the node's place among the 15 m pixels, whose index 0 is the first centre
            x = 480000 + 15 * (d.col[j] + 0.5)
            y = 3100005 - 15 * (d.row[i] + 0.5)
            assert file.xy(i, j) == pytest.approx((x, y), abs=1e-6)
        assert file.res == (15 * step, 15 * step)


@dataclass(frozen=True)
class Figures:
    median: tuple[float, float]
    count: int


def test_the_record_is_plain_json(tmp_path):
    d, velocity = made()
    report = {
        "bias": {"before": Figures((np.float32(0.105), np.nan), np.int64(3)), "model": "plane"},
        "thresholds": {"x": np.array([1.0, np.inf]), Quality.GOOD: {3, 1}},
        "configuration": {"folder": tmp_path, "first": np.datetime64("2016-07")},
        "note": None,
    }
    path = write_pair(tmp_path, d, velocity, report)[2]
    record = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert record["reference"] == {"id": "A", "time": "2016-07-18T20:40:48.253Z"}
    assert record["dt_days"] == 16.0
    assert record["bias"]["before"] == {"median": [pytest.approx(0.105), None], "count": 3}
    assert record["static_terrain"] is None
    assert record["thresholds"] == {"x": [1.0, None], "good": [1, 3]}
    assert record["configuration"] == {"folder": str(tmp_path), "first": "2016-07"}
    assert record["quality"] == {"good": 191, "incoherent": 1}
    assert record["grid"]["shape"] == [12, 16]
    assert record["version"]


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path):
    d, velocity = made()
    out = tmp_path / "none"
    with pytest.raises(ValueError, match="names that are free"):
        write_pair(out, d, velocity, {"grid": 1})
    with pytest.raises(ValueError, match=r"report\.bias\.map"):
        write_pair(out, d, velocity, {"bias": {"map": np.zeros((200, 200))}})
    with pytest.raises(ValueError, match=r"report\.x: expected something that JSON can hold"):
        write_pair(out, d, velocity, {"x": object()})
    with pytest.raises(ValueError, match="one shape"):
        write_pair(out, d, replace(velocity, vx=velocity.vx[:2]), {})
    assert not out.exists()
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(WriteError):
        write_pair(blocked, d, velocity, {})


def test_a_broken_off_rewrite_leaves_no_record(tmp_path, monkeypatch):
    d, velocity = made()
    write_pair(tmp_path, d, velocity, {})

    def full(*_args, **_kwargs):
        raise WriteError("write", "x", expected="room", got="none", hint="make some")

    monkeypatch.setattr("hmavel.product.pair_files.write_geotiff", full)
    with pytest.raises(WriteError):
        write_pair(tmp_path, d, velocity, {})
    assert not (tmp_path / "pair.json").exists()


def test_plain_words():
    assert plain(np.datetime64("NaT")) is None
    assert plain(np.timedelta64(36, "h")) == 1.5
    assert plain((True, np.bool_(False), 3, float("nan"))) == [True, False, 3, None]
    assert plain({"crs": CRS.from_epsg(4326)}) == {"crs": "EPSG:4326"}
