"""Rasters on a server: read by ranges, tried again when it fails, never silently wrong."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import rasterio
from affine import Affine
from landsat_products import UTM45, write_band
from products import product_id
from stac_server import Server

import hmavel
from hmavel import cli
from hmavel._types import Grid
from hmavel.errors import ReadError
from hmavel.raster import open_raster, read_band, read_grid
from hmavel.vsi import (
    address,
    file_name,
    in_tar,
    is_remote,
    is_virtual,
    patience,
    remote,
    shown,
)

GRID = Grid(UTM45, Affine(15, 0, 479992.5, 0, -15, 3100207.5), (2501, 2601))
WINDOW = GRID.crop(900, 1000, 300, 280)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A Band 8 that does not compress, in blocks of 256 as Collection 2 has them."""
    array = np.random.default_rng(2).integers(1, 60000, GRID.shape, dtype=np.uint16)
    path = tmp_path_factory.mktemp("remote") / "b8.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=2601, height=2501, count=1, dtype="uint16",
        crs=GRID.crs, transform=GRID.transform, tiled=True, blockxsize=256, blockysize=256,
        compress="deflate",
    ) as file:  # fmt: skip
        file.write(array, 1)
    return path, array


@pytest.fixture
def server(image):
    with Server(image[0].parent, slow_s=2.5) as running:
        yield running


def name(server, file="b8.tif", **options):
    return remote(f"{server.url}/data/{file}", **({"retries": 3, "delay_s": 0.01} | options))


def test_a_window_costs_its_blocks_and_a_header(server, image):
    path, array = image
    found, _ = read_band(name(server), window=WINDOW)
    assert np.array_equal(found, array[900:1200, 1000:1280])
    sent, whole = sum(server.sent.values()), path.stat().st_size
    # 2 x 2 blocks of 110 are touched, about 2 bytes a pixel, and the header.
    assert 4 * 256 * 256 * 2 < sent < 4 * 2.1 * 256 * 256 + 20_000
    assert sent < 0.05 * whole
    gets = [span for method, _, span in server.requests if method == "GET"]
    assert all(span is not None for span in gets)  # never the whole file


def test_a_header_alone_costs_16_kilobytes(server):
    assert read_grid(name(server)) == GRID
    assert sum(server.sent.values()) <= 16_384


FAULTS = {
    "not found, twice": [404, 404],
    "broken, then busy": [500, None, 503],
    "no rights for a moment": [403],
    "header cut off": [None, "cut"],
    "blocks cut off": [None, None, "cut", "cut", "cut", "cut"],
    "blocks refused": [None, None, 500, 500, 404],
    "slow": ["slow"],
    "blocks slow": [None, None, "slow"],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_server_that_recovers_gives_the_true_numbers(server, image, faults, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    server.faults["/data/b8.tif"] = faults
    found, grid = read_band(name(server), window=WINDOW)
    assert np.array_equal(found, image[1][900:1200, 1000:1280])
    assert grid == WINDOW


@pytest.mark.parametrize("fault", [404, 500, "cut"])
def test_a_server_that_stays_broken_is_one_error_that_says_so(server, fault, caplog):
    server.faults["/data/b8.tif"] = [fault] * 200
    with (
        caplog.at_level(logging.INFO, "hmavel"),
        pytest.raises(ReadError, match=r"its server, got .*\(tried 4 times\); check address"),
    ):
        read_band(name(server), window=WINDOW)
    pauses = [m.split("again in ")[1].split(" s")[0] for m in caplog.messages if "again" in m]
    assert pauses == ["0.01", "0.02", "0.04"]  # it backs off
    assert f"{server.url}/data/b8.tif" in caplog.text
    assert not any("vsicurl" in m for m in caplog.messages)


def test_one_that_breaks_while_a_file_is_open(server, image):
    with open_raster(name(server)) as reader:
        server.faults["/data/b8.tif"] = [500] * server.asked["/data/b8.tif"] + [500] * 4
        found, _ = reader.read(1, window=WINDOW)
        assert np.array_equal(found, image[1][900:1200, 1000:1280])
        server.faults["/data/b8.tif"] = [404] * 500
        with pytest.raises(ReadError, match="tried 4 times"):
            reader.read(1, window=GRID.crop(0, 0, 50, 50))


def test_a_truncated_file_on_a_server(image, tmp_path):
    data = image[0].read_bytes()
    with Server(tmp_path) as other:
        (tmp_path / "half.tif").write_bytes(data[: len(data) // 2])
        with pytest.raises(ReadError, match="tried 2 times"):
            read_band(name(other, "half.tif", retries=1), window=GRID.crop(2200, 0, 9, 9))


def test_objects_of_s3_are_read_by_windows_too(server, image, monkeypatch):
    host = server.url.removeprefix("http://")
    for key, value in {
        "AWS_S3_ENDPOINT": host, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    found, _ = read_band(remote("s3://data/b8.tif"), window=WINDOW)
    assert np.array_equal(found, image[1][900:1200, 1000:1280])
    assert sum(server.sent.values()) < 0.05 * image[0].stat().st_size


def test_a_pair_of_addresses(tmp_path, capsys):
    images = hmavel.simulate.shifted_pair(1.5, -0.5, seed=4, shape=(256, 256))
    ids = [product_id(day) for day in ("20200105", "20200121")]
    names = [f"{product}_B8.TIF" for product in ids]
    for file, image in zip(names, (images.reference, images.secondary), strict=True):
        write_band(tmp_path / file, image.astype(np.uint16), GRID.crop(0, 0, 256, 256))
    with Server(tmp_path) as server:
        urls = [f"{server.url}/data/{file}" for file in names]
        assert cli.main(["pair", "-q", *urls, "--out", str(tmp_path / "out")]) == cli.DONE
    capsys.readouterr()
    found, _ = read_band(tmp_path / "out" / "displacement.tif", 1)
    assert abs(np.nanmedian(found) + 0.5 * 15) < 0.1
    record = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert record["reference"]["id"] == ids[0]


def test_names_for_gdal_and_for_people(tmp_path):
    url = "https://host/a%20b/x_B8.TIF?token=secret&n=1"
    path = remote(url, retries=2, delay_s=0.5)
    assert address(path) == url
    assert shown(path) == "https://host/a%20b/x_B8.TIF"
    assert shown(remote("https://me:secret@host/x.TIF?a=b")) == "https://host/x.TIF"
    assert file_name(path) == "x_B8.TIF"
    assert patience(path) == (2, 0.5)
    assert is_remote(path)
    assert is_virtual(path)
    assert remote("/vsis3/bucket/x.tif") == remote("s3://bucket/x.tif")
    member = in_tar(tmp_path / "x.tar", "a/b.TIF")
    assert is_virtual(member)
    assert not is_remote(member)
    assert patience(member) == patience(tmp_path) == (0, 0.0)
    assert shown(tmp_path) == str(tmp_path)
    with pytest.raises(ValueError, match="expected an http, https or s3 address, got ftp"):
        remote("ftp://host/x.tif")
