"""Whatever bytes come in: an error of the family or a value, never anything else.

``HMAVEL_FUZZ=20000`` gives every parser so many cases.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmavel import config, journal, memory, state
from hmavel.errors import HmavelError
from hmavel.mtl import parse_product_id, read_mtl
from hmavel.raster import open_raster

CASES = int(os.environ.get("HMAVEL_FUZZ", "60"))
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
