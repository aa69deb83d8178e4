"""What users hand in by mistake: each answered by one line that names it and a mend."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine

from hmavel import cli, simulate

#: Two Band-8 files of one path and row, 16 days apart.
FIRST = "LC08_L1TP_140041_20200105_20200823_02_T1_B8.TIF"
SECOND = "LC08_L1TP_140041_20200121_20200823_02_T1_B8.TIF"
ORIGIN = (480_007.5, 3_100_492.5)


@pytest.fixture(scope="module")
def scenes():
    """Digital numbers of two images, the second one moved by a pixel."""
    pair = simulate.shifted_pair(drow=1.0, dcol=-1.0, seed=5, shape=(192, 208))
    return [np.clip(image, 1, 60_000).astype(np.uint16)
            for image in (pair.reference, pair.secondary)]  # fmt: skip


def write(path, array, *, epsg=32645, origin=ORIGIN):
    transform = Affine(15, 0, origin[0], 0, -15, origin[1])
    with rasterio.open(
        path, "w", driver="GTiff", width=array.shape[1], height=array.shape[0], count=1,
        dtype=array.dtype, crs=f"EPSG:{epsg}", transform=transform,
    ) as file:
        file.write(array, 1)
    return path


@pytest.fixture
def files(tmp_path, scenes):
    return [write(tmp_path / name, array)
            for name, array in zip((FIRST, SECOND), scenes, strict=True)]  # fmt: skip


@pytest.fixture
def pair(tmp_path, capsys):
    """Run ``hmavel pair`` and return (status, the line on stderr that says why)."""

    def run(reference, secondary, *options, out=tmp_path / "out"):
        status = cli.main(["pair", "-q", str(reference), str(secondary), "--out", str(out),
                           *map(str, options)])  # fmt: skip
        err = capsys.readouterr().err
        assert "Traceback" not in err
        if status != cli.DONE and not str(out).startswith("/proc"):
            assert not (out / "pair.json").exists()
        return status, err

    return run


def polygon(path, x, y, size=1200.0, epsg=32645):
    import geopandas as gpd
    from shapely.geometry import box

    gpd.GeoSeries([box(x, y - size, x + size, y)], crs=epsg).to_file(path)
    return path


def test_a_good_pair_is_done(pair, files, tmp_path):
    stable = polygon(tmp_path / "rock.gpkg", *ORIGIN, size=3000)
    status, _ = pair(*files, "--stable", stable)
    assert status == cli.DONE
    report = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert report["bias"]["before"]["median_row"] == pytest.approx(1, abs=0.05)
    assert report["bias"]["before"]["median_col"] == pytest.approx(-1, abs=0.05)
    assert abs(report["bias"]["after"]["median_row"]) < 0.02
    assert report["configuration"]["correlate"]["window"] == 32


def test_a_truncated_file(pair, files):
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: len(whole) // 2])
    status, said = pair(*files)
    assert status == cli.SOME_FAILED
    assert SECOND in said
    assert "fetch it again" in said


def test_a_missing_file_and_an_empty_folder(pair, files, tmp_path):
    status, said = pair(files[0], tmp_path / "none.TIF")
    assert status == cli.SOME_FAILED
    assert "none.TIF: expected a scene, got no such file; check the path" in said
    (tmp_path / "empty").mkdir()
    status, said = pair(tmp_path / "empty", files[1])
    assert status == cli.SOME_FAILED
    assert "empty: expected a product folder, got an empty folder; fetch" in said


def test_two_coordinate_systems(pair, files, scenes):
    write(files[1], scenes[1], epsg=32644)
    status, said = pair(*files)
    assert status == cli.SOME_FAILED
    assert FIRST[:40] in said
    assert "expected one coordinate system (EPSG:32645), got EPSG:32644; pair scenes of" in said


def test_grids_that_do_not_overlap(pair, files, scenes):
    write(files[1], scenes[1], origin=(ORIGIN[0] + 60_000, ORIGIN[1]))
    status, said = pair(*files)
    assert status == cli.SOME_FAILED
    assert "no overlap; give scenes of one path and row" in said


def test_grids_shifted_by_part_of_a_pixel_are_brought_together_and_that_is_said(
    pair, files, scenes, tmp_path
):
    write(files[1], scenes[1], origin=(ORIGIN[0] + 6, ORIGIN[1] + 4.5))
    status, _ = pair(*files)
    assert status == cli.DONE
    report = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert "offset (-0.3000, +0.4000) px" in report["resampling"]
    with rasterio.open(tmp_path / "out" / "displacement.tif") as file:
        east, north = (np.nanmedian(file.read(band)) for band in (1, 2))
    # The content moved by -1 px right and 1 px down on a grid that lies 6 m east, 4.5 m north.
    assert east == pytest.approx(-15 + 6, abs=0.5)
    assert north == pytest.approx(-15 + 4.5, abs=0.5)


def test_one_scene_twice(pair, files, scenes):
    status, said = pair(files[0], files[0])
    assert status == cli.SOME_FAILED
    assert "expected two scenes, got one scene twice; give two acquisitions" in said
    write(files[1], scenes[0])  # the same pixels under another name
    status, said = pair(*files)
    assert status == cli.SOME_FAILED
    assert "got the same pixels in both" in said


def test_swapped_dates(pair, files):
    status, said = pair(files[1], files[0])
    assert status == cli.SOME_FAILED
    assert "expected a secondary after the reference" in said
    assert "swap the two scenes" in said


@pytest.mark.parametrize("option", ["--glaciers", "--stable"])
def test_an_outline_outside_the_image(pair, files, tmp_path, option):
    far = polygon(tmp_path / "far.gpkg", ORIGIN[0] + 90_000, ORIGIN[1])
    status, said = pair(*files, option, far)
    assert status == cli.SOME_FAILED
    assert "far.gpkg: expected" in said
    assert "got none within LC08" in said
    assert "check the file's coordinate system" in said


def test_no_bare_ground_at_all(pair, files, tmp_path):
    everywhere = polygon(tmp_path / "ice.gpkg", ORIGIN[0] - 5000, ORIGIN[1] + 5000, size=20_000)
    status, said = pair(*files, "--glaciers", everywhere)
    assert status == cli.SOME_FAILED
    assert "expected bare ground that both scenes see, got none at all; give --stable" in said
    status, _ = pair(*files, "--glaciers", everywhere, "--bias", "none")
    assert status == cli.DONE


def test_a_window_larger_than_the_image(pair, files):
    status, said = pair(*files, "--window", 256)
    assert status == cli.SOME_FAILED
    assert "expected common ground of at least 256 px, the window, got 192 by 208 px" in said
    assert "use smaller windows" in said


@pytest.mark.parametrize("option", [("--window", 33), ("--window", 4), ("--coarse", 16)])
def test_a_window_that_is_none_is_wrong_usage(pair, files, option):
    status, said = pair(*files, *option)
    assert status == cli.WRONG_USAGE
    assert "config of the command line: expected correlate" in said


def test_a_band_of_nan_and_a_constant_one(pair, files, scenes):
    write(files[1], np.full(scenes[1].shape, np.nan, np.float32))
    status, said = pair(*files)
    assert status == cli.SOME_FAILED
    assert f"expected an image in {SECOND[:40]}, got no valid pixel" in said
    write(files[1], np.full(scenes[1].shape, 7_000, np.uint16))
    status, said = pair(*files)
    assert status == cli.SOME_FAILED
    assert "got the one value 7000; check the file" in said


def test_an_output_that_cannot_be_written(pair, files, tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    status, said = pair(*files, out=tmp_path / "taken" / "out")
    assert status == cli.SOME_FAILED
    assert "taken" in said
    assert "check permissions, free space and that its folder is not a file" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(pair, files, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    status, said = pair(*files, out=tmp_path / "locked" / "out")
    assert status == cli.SOME_FAILED
    assert "locked" in said


def product(folder, mtl_of=None, drop=None):
    """Make a small product folder, with what may be wrong about it."""
    archive = simulate.archive(folder / "a", seed=2, size=161, years=0.1, start="2021-06-01")
    paths = [scene.path for scene in archive.scenes]
    if mtl_of is not None:
        for suffix in ("txt", "json"):
            own = paths[1] / f"{paths[1].name}_MTL.{suffix}"
            shutil.copy(paths[0] / f"{paths[0].name}_MTL.{suffix}", own)
    if drop is not None:
        (paths[1] / f"{paths[1].name}_{drop}.TIF").unlink()
    return paths


def test_a_folder_without_its_band_8(pair, tmp_path):
    paths = product(tmp_path, drop="B8")
    status, said = pair(paths[0], paths[1])
    assert status == cli.SOME_FAILED
    assert paths[1].name in said
    assert "B8" in said


def test_metadata_of_another_scene(pair, tmp_path):
    paths = product(tmp_path, mtl_of=0)
    status, said = pair(paths[0], paths[1])
    assert status == cli.SOME_FAILED
    assert paths[0].name in said
    assert paths[1].name in said
