"""The archive on disk: formats, radiometry, masks, shifts, and the truth about each."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from phase import phase_shift
from scipy import ndimage

from hmavel import simulate
from hmavel.errors import ReadError, WriteError
from hmavel.landsat import open_scene
from hmavel.scene_bands import reflectance
from hmavel.simulate import render, sensor, weather
from hmavel.simulate.inventory import write_inventory
from hmavel.simulate.layout import World
from hmavel.simulate.product import write_scene
from hmavel.simulate.terrain import ground
from hmavel.simulate.truth import Archive, epoch_of, milliseconds

SIZE = 321


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("simulated")
    return simulate.archive(folder, seed=3, size=SIZE, start="2021-07-01", years=0.5)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def test_products_are_what_they_say(archive: Archive) -> None:
    folders = sorted(p for p in archive.scenes_dir.iterdir() if not p.name.startswith("."))
    assert [f.name for f in folders] == sorted(s.id for s in archive.scenes)
    assert len(folders) == 11  # half a year of 16 days
    for scene in archive.scenes:
        assert re.fullmatch(r"LC08_L1TP_135039_\d{8}_\d{8}_02_T1", scene.id)
        opened = open_scene(scene.path)
        assert opened.id == scene.id
        assert abs(opened.time - scene.time) <= np.timedelta64(1, "ms")
        assert opened.wrs == (135, 39)
        assert opened.sun_elevation == pytest.approx(scene.sun_elevation, abs=1e-6)
        assert opened.sun_azimuth == pytest.approx(scene.sun_azimuth, abs=1e-6)
        assert opened.reflectance is not None
        assert opened.reflectance["B8"] == pytest.approx((2e-5, -0.1))
        assert opened.grid == archive.grid
        assert set(opened.bands) >= {"B2", "B3", "B4", "B5", "B6", "B7", "B8", "QA_PIXEL"}
    step = np.diff([s.time for s in archive.scenes]) / np.timedelta64(1, "D")
    assert step == pytest.approx(16.0, abs=0.001)


def test_both_metadata_files_agree(archive: Archive) -> None:
    folder = archive.scenes[0].path
    text = (folder / f"{folder.name}_MTL.txt").read_text()
    content = json.loads((folder / f"{folder.name}_MTL.json").read_text())
    groups = content["LANDSAT_METADATA_FILE"]
    leaves = {k: v for group in groups.values() for k, v in group.items()}
    found = dict(re.findall(r'^\s*(\w+) = "?([^"\n]*)"?$', text, re.M))
    assert {k: found[k] for k in leaves} == leaves
    assert re.fullmatch(r"04:1\d:\d\d\.\d{7}Z", leaves["SCENE_CENTER_TIME"])
    assert text.endswith("END_GROUP = LANDSAT_METADATA_FILE\nEND\n")


def test_grids_share_the_first_centre(archive: Archive) -> None:
    scene = archive.scenes[0]
    with (
        rasterio.open(scene.path / f"{scene.id}_B8.TIF") as b8,
        rasterio.open(scene.path / f"{scene.id}_B4.TIF") as b4,
    ):
        assert b8.height == 2 * b4.height - 1
        assert b8.width == 2 * b4.width - 1
        assert b8.xy(0, 0) == pytest.approx(b4.xy(0, 0), abs=1e-9)
        assert b8.xy(b8.height - 1, b8.width - 1) == pytest.approx(
            b4.xy(b4.height - 1, b4.width - 1), abs=1e-9
        )
        assert np.mod(b4.xy(0, 0), 30) == pytest.approx(0, abs=1e-9)
        assert b8.dtypes == ("uint16",)
        assert b8.profile["tiled"]
        assert b8.profile["compress"] == "deflate"
        assert b8.tags()["AREA_OR_POINT"] == "Point"
        mtl = json.loads((scene.path / f"{scene.id}_MTL.json").read_text())
        corner = mtl["LANDSAT_METADATA_FILE"]["PROJECTION_ATTRIBUTES"]
        assert (
            float(corner["CORNER_LR_PROJECTION_X_PRODUCT"]),
            float(corner["CORNER_LR_PROJECTION_Y_PRODUCT"]),
        ) == pytest.approx(b8.xy(b8.height - 1, b8.width - 1))


def test_dn_have_twelve_bits(archive: Archive) -> None:
    scene = archive.scenes[-1]
    dn = read(scene.path / f"{scene.id}_B8.TIF")
    assert not np.any(dn % 16)
    assert dn.min() > 5000
    assert dn.max() < 65535


def test_same_seed_same_pixels(archive: Archive, tmp_path: Path) -> None:
    world, start = World(3, SIZE), milliseconds("2021-07-01")
    shot = weather.schedule(world, start, 0.5, ("LC08",))[4]
    scene = archive.scenes[4]
    again = write_scene(
        world, shot, epoch_of(start), tmp_path / "scenes", _made(tmp_path / "truth")
    )
    assert again == scene.fractions
    for file in sorted((tmp_path / "scenes" / scene.id).glob("*.TIF")):
        assert np.array_equal(read(file), read(scene.path / file.name))
    other = weather.schedule(World(4, SIZE), start, 0.5, ("LC08",))[4]
    assert other.geolocation != shot.geolocation


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_load_returns_the_same_truth(archive: Archive) -> None:
    assert simulate.load(archive.path) == archive
    with pytest.raises(ReadError, match="record of a simulated archive"):
        simulate.load(archive.path / "nowhere")


def test_inventory_has_large_and_small_glaciers(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        areas = write_inventory(World(seed, 1201), tmp_path / "glaciers.gpkg")
        frame = gpd.read_file(tmp_path / "glaciers.gpkg")
        assert frame.crs.to_epsg() == 4326
        assert {"rgi_id", "area_km2", "o1region", "utm_zone", "glac_name"} <= set(frame)
        assert set(frame["o1region"]) == {"15"}
        assert set(frame["utm_zone"]) == {46}
        assert sum(a > 10 for a in areas.values()) == 3
        assert sum(a < 10 for a in areas.values()) == 1
        # UTM areas are off by the square of the scale factor, 0.2 % here
        utm = frame.to_crs(32646).area / 1e6
        assert list(utm) == pytest.approx(list(frame["area_km2"]), rel=0.003)


def test_dem_is_the_ground(archive: Archive) -> None:
    with rasterio.open(archive.dem) as file:
        z = file.read(1)
        assert file.res == (30.0, 30.0)
        assert file.crs.to_epsg() == 32646
    assert 3500 < z.min() < z.max() < 7500
    for glacier in archive.glaciers:
        x, y = glacier.from_flow(np.array([0.2, 0.8]), 0.0)
        grid = archive.world.grid30
        up, down = z[np.rint(grid.row(y)).astype(int), np.rint(grid.col(x)).astype(int)]
        assert up > down


def test_spectra_tell_snow_from_cloud(archive: Archive) -> None:
    """The rules of the mask stage can work: on flat-lit pixels of every scene together."""
    found: dict[str, list[np.ndarray]] = {"snow": [], "cloud": [], "rock": [], "ice": []}
    for scene in archive.scenes:
        opened, bits = open_scene(scene.path), read(scene.mask_path).astype(int)
        b3, b5, b6 = (reflectance(opened, b)[0] for b in ("B3", "B5", "B6"))
        values = np.stack([(b3 - b6) / (b3 + b6), b5, b6])
        plain = bits & ~(render.VALID | render.ICE) == 0
        off_ice = bits & render.ICE == 0
        lit = values[1] > 0.10  # in the shade the blue of the air lifts every NDSI
        found["snow"].append(values[:, bits == render.VALID | render.SNOW])
        white = ndimage.binary_dilation(bits & (render.ICE | render.SNOW) > 0, iterations=3)
        found["rock"].append(values[:, plain & off_ice & lit & ~white])
        found["ice"].append(values[:, plain & ~off_ice & lit])
        thick = bits & (render.CLOUD | render.CIRRUS) == render.CLOUD
        found["cloud"].append(values[:, ndimage.binary_erosion(thick, iterations=8)])
    joined = {k: np.concatenate(v, axis=1) for k, v in found.items()}
    assert min(v.shape[1] for v in joined.values()) > 500
    assert np.mean(joined["snow"][0] > 0.4) > 0.95
    assert np.mean(joined["snow"][2] < 0.25) > 0.95
    assert np.mean(joined["cloud"][2] > 0.35) > 0.95
    assert np.mean(joined["cloud"][0] < 0.4) > 0.95
    assert np.mean(joined["rock"][0] < 0.4) > 0.95
    assert np.median(joined["rock"][0]) < 0
    assert np.median(joined["ice"][0]) > 0.4


def test_quality_band_errs_over_ice_as_cfmask_does(archive: Archive) -> None:
    clear_ice = kept = cloud = caught = 0
    thick_ground = thick_caught = 0
    for scene in archive.scenes:
        bits, qa = read(scene.mask_path), read(scene.path / f"{scene.id}_QA_PIXEL.TIF")
        flagged = qa & 0b1110 > 0
        ice = bits & (render.ICE | render.SNOW) > 0
        dim = bits & (render.CLOUD | render.CIRRUS | render.SHADOW | render.SHADED) > 0
        clear_ice += np.count_nonzero(ice & ~dim)
        kept += np.count_nonzero(ice & ~dim & ~flagged)
        clouded = bits & render.CLOUD > 0
        cloud += np.count_nonzero(ice & clouded)
        caught += np.count_nonzero(ice & clouded & flagged)
        thick_ground += np.count_nonzero(clouded & ~ice)
        thick_caught += np.count_nonzero(clouded & ~ice & flagged)
        values = set(np.unique(qa).tolist())
        assert values <= KNOWN_QA, values - KNOWN_QA
    assert 0.5 < kept / clear_ice < 0.8
    assert caught / cloud < thick_caught / thick_ground
    assert thick_caught / thick_ground > 0.9


def _qa_values() -> set[int]:
    """All consistent combinations of the classes' bits and their confidences."""
    out = {1}
    for dilated, cirrus, cloud, shadow, snow in np.ndindex(2, 2, 2, 2, 2):
        if cloud and (dilated or shadow or snow):
            continue
        clear = not (dilated or cirrus or cloud)
        value = dilated << 1 | cirrus << 2 | cloud << 3 | shadow << 4 | snow << 5 | clear << 6
        for bit, high in ((8, cloud), (10, shadow), (12, snow), (14, cirrus)):
            value |= (3 if high else 1) << bit
        out.add(value)
    return out


KNOWN_QA = _qa_values()


def test_quality_values_are_the_real_ones() -> None:
    assert {1, 21824, 22280, 23888, 30048, 55052} <= KNOWN_QA


def fair(shot: weather.Acquisition, like: weather.Acquisition) -> weather.Acquisition:
    """The same overpass under a cloudless sky, without snow, in another's light."""
    sky = replace(shot.weather, cloud_fraction=0.0, cirrus=0.0, snowline_m=9000.0)
    return replace(
        shot, weather=sky, sun_azimuth=like.sun_azimuth, sun_elevation=like.sun_elevation
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_shift_on_bare_ground_is_the_stated_one(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "FRESH", 0.0)  # the ground alone, and the sensor's noise
    world = World(seed, 401)
    start = milliseconds("2021-05-01")
    shots = weather.schedule(world, start, 0.3, ("LC08",))
    n = world.grid30.shape[0]
    pans = [
        render.render(world, fair(s, shots[2]), epoch_of(start), 9.0, 0, n).b8
        for s in (shots[2], shots[5])
    ]
    archive = _truth_only(world, start)
    one, two = (_true(s) for s in (shots[2], shots[5]))
    east, north = archive.true_mismatch(one, two)
    ice = ndimage.binary_dilation(archive.glacier_mask(), iterations=3)
    # put back by the truth's mean, so that what is left is the truth's error and the noise
    drow, dcol = float(-north.mean() / 15), float(east.mean() / 15)
    back = ndimage.shift(pans[1].astype(float), (-drow, -dcol), order=5)
    pans = [pans[0].astype(float), back]
    tapered = np.outer(*(2 * [np.hanning(48)]))
    misses = []
    for row in range(10, 330, 24):
        for col in range(10, 330, 24):
            part = (slice(row, row + 48), slice(col, col + 48))
            if ice[part].any():
                continue
            a, b = ((p[part] - p[part].mean()) * tapered for p in pans)
            found = phase_shift(a, b, 0.3)
            true = -north[part].mean() / 15 - drow, east[part].mean() / 15 - dcol
            misses.append(found - np.array(true))
    assert len(misses) > 12
    assert np.abs(np.median(misses, axis=0)).max() < 0.02
    assert np.abs(misses).max() < 0.1


def test_snow_goes_where_the_ice_goes_until_the_next_winter() -> None:
    world = World(6, 401)
    g = ground(world, 0, 0, 401, 401)
    ice = next(i for i in g.ice if i.glacier.kind == "surge")
    middle = (np.abs(ice.q) < 0.9) & (np.abs(ice.z - 0.5) < 0.3)
    ice = replace(ice, flat=ice.flat[middle], z=ice.z[middle], q=ice.q[middle])
    t1, t2, t3 = render.SNOW_LAID + np.array([0.05, 0.6, 1.1])
    before = render.snow_pattern(ice, world, t1)

    def gone(t: float) -> float:
        rate = ice.glacier.rate
        return float(rate.integral(t) - rate.integral(t1))

    for t, kept in ((t2, 0.999), (t3, 0.2)):
        there = replace(ice, z=ice.glacier.advance(ice.z, ice.q, gone(t)))
        after = render.snow_pattern(there, world, t)
        same = np.corrcoef(before, after)[0, 1]
        assert same > kept if t == t2 else abs(same) < kept
    still = render.snow_pattern(ice, world, t2)
    assert np.corrcoef(before, still)[0, 1] < 0.9


def test_no_bedrock_shows_through_a_glacier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "FRESH", 0.0)
    world = World(6, 401)
    shot = weather.schedule(world, milliseconds("2021-01-01"), 0.1, ("LC08",))[0]
    g = ground(world, -sensor.HALO, -sensor.HALO, 401 + 20, 401 + 20)
    rock = render._surface(world, shot, g, 0.0, 0).rock
    assert (rock[g.icy == 1] == 1).all()
    assert rock[g.icy == 0].std() > 0.2


def test_ice_in_the_image_moves_as_stated() -> None:
    """Noise-free sampling of two times at places that the truth connects: same brightness."""
    world = World(6, 401)
    start = milliseconds("2021-01-01")
    archive = _truth_only(world, start)
    t1, t2 = milliseconds("2021-11-20T04:12"), milliseconds("2021-12-06T04:12")
    g = ground(world, 0, 0, 401, 401)
    surging = next(i for i in g.ice if i.glacier.kind == "surge")
    images = []
    for t in (t1, t2):
        image = np.zeros((401, 401), dtype=np.float32)
        image.ravel()[surging.flat] = render.ice_texture(
            surging, world, render.year_of(t, epoch_of(start))
        )
        images.append(image)
    east, north = archive.true_displacement(t1, t2)
    middle = (np.abs(surging.q) < 0.5) & (np.abs(surging.z - 0.5) < 0.15)
    rows, cols = np.unravel_index(surging.flat[middle], (401, 401))
    moved = np.stack([rows - north[rows, cols] / 15, cols + east[rows, cols] / 15])
    assert np.hypot(east, north)[rows, cols].max() > 10
    before = images[0][rows, cols]

    def misfit(drow: float, dcol: float) -> float:
        at = moved + np.array([[drow], [dcol]])
        return float(np.std(ndimage.map_coordinates(images[1], at, order=5) - before))

    best = misfit(0, 0)
    assert best < 0.1 * np.std(before)
    for offset in (0.03, -0.03):  # px: the truth is the best place to look, and sharply so
        assert misfit(offset, 0) > best
        assert misfit(0, offset) > best


def _truth_only(world: World, start: np.datetime64) -> Archive:
    nowhere = Path("nowhere")
    return Archive(
        nowhere, nowhere, nowhere, nowhere, world.seed, world.size, start, 2.0, (), {}
    )


def _true(shot: weather.Acquisition) -> simulate.TrueScene:
    where = Path("nowhere")
    return simulate.TrueScene(
        "", shot.time, where, where, shot.sun_azimuth, shot.sun_elevation, shot.geolocation,
        {"ice_clear": 1.0}, "",
    )  # fmt: skip


def test_months_add_up_to_displacements(archive: Archive) -> None:
    grid = archive.grid
    months = np.arange("2021-07", "2022-07", dtype="datetime64[M]")
    vx, vy = archive.true_months(months, grid)
    assert vx.shape == (12, *grid.shape)
    days = np.diff(np.append(months, months[-1] + 1).astype("datetime64[D]")).astype(float)
    a, b = milliseconds("2021-07-01"), milliseconds("2022-07-01")
    whole = archive.true_velocity(a, b, grid)
    assert np.abs(np.tensordot(days, vx, 1) / days.sum() - whole[0]).max() < 1e-9
    ice = archive.glacier_mask(grid)
    assert not vx[:, ~ice].any()
    for k, month in enumerate(months):
        start, end = milliseconds(month), milliseconds(month + 1)
        east, north = archive.true_displacement(start, end, grid)
        # Eulerian and Lagrangian differ by d . grad d, metres over kilometres
        span = days[k] / 365.25
        far = np.hypot(east, north)
        miss = np.hypot(east - vx[k] * span, north - vy[k] * span)
        assert np.all(miss <= 0.02 * far + 1e-6), month
        back = archive.true_displacement(end, start, grid)
        assert np.all(np.hypot(back[0] + east, back[1] + north) <= 0.04 * far + 1e-6)


def test_velocity_on_another_grid(archive: Archive) -> None:
    start, end = archive.scenes[0].time, archive.scenes[3].time
    vx, _ = archive.true_velocity(start, end)
    coarse = archive.grid.nodes(np.arange(3.5, 300, 8), np.arange(4.0, 300, 8))
    cx, cy = archive.true_velocity(start, end, coarse)
    assert cx.shape == coarse.shape
    between = 0.5 * (vx[3:300:8, 4:300:8] + vx[4:301:8, 4:300:8])
    well_inside = ndimage.binary_erosion(archive.glacier_mask(), iterations=2)[3:300:8, 4:300:8]
    assert well_inside.sum() > 50
    assert cx[well_inside] == pytest.approx(between[well_inside], rel=0.03, abs=1.0)
    assert np.abs(between[well_inside]).max() > 20
    far = archive.grid.crop(-5000, 0, 5, 5)
    assert not archive.true_velocity(start, end, far)[0].any()
    assert np.isfinite(cy).all()


def test_geolocation_has_the_sizes_of_landsat() -> None:
    rng = np.random.default_rng(0)
    many = [sensor.draw_geolocation(rng, 18_015.0) for _ in range(400)]
    shifts = np.array([(g.east, g.north) for g in many])
    assert shifts.std(axis=0) == pytest.approx(4.0, rel=0.1)
    grid = World(0, 1201).grid
    x = grid.x(np.arange(0, 1201, 40))[None, :]
    y = grid.y(np.arange(0, 1201, 40))[:, None]
    bent = np.array([g.bent(x, y) for g in many])
    spread = np.ptp(bent[:200] - bent[200:], axis=(2, 3)) / 15
    assert 0.05 < np.median(spread) < 0.3
    assert spread.max() < 0.6
    steps = np.array([np.abs(np.diff(g.modules, axis=0)).mean(axis=0) for g in many]) / 15
    assert 0.02 < np.median(steps) < 0.15


@pytest.mark.parametrize("seed", [0, 1])
def test_exposure_shifts_exactly_and_blurs(seed: int) -> None:
    from hmavel.simulate.noise import fourier_shift, fractal, frequencies, mtf

    rng = np.random.default_rng(seed)
    tile = fractal(rng, (256, 256), 1.2)
    where = sensor.Geolocation(7.3, -5.1, (0.0,) * 6, ((0.0, 0.0),) * 14, 1e5, 0.0)
    grid = World(0, 321).grid.crop(0, 0, 256, 256)
    padded = np.pad(tile, sensor.HALO, mode="wrap")
    seen = sensor.expose(padded, where, grid)
    fr, fc = frequencies(tile.shape)
    blurred = np.fft.irfft2(np.fft.rfft2(tile) * mtf(fr) * mtf(fc))
    # the same image, to what the kernel's window costs at the highest frequencies
    assert np.std(seen - fourier_shift(blurred, 5.1 / 15, 7.3 / 15)) < 0.02 * np.std(blurred)
    shift = phase_shift(sensor.expose(padded, replace(where, east=0, north=0), grid), seen)
    assert shift == pytest.approx((5.1 / 15, 7.3 / 15), abs=5e-4)
    bent = replace(where, modules=((1.5, -1.2),) * 14)
    shift = phase_shift(seen, sensor.expose(padded, bent, grid))
    assert shift == pytest.approx((1.2 / 15, 1.5 / 15), abs=2e-3)


def test_strips_agree_with_the_whole() -> None:
    world, start = World(5, 241), milliseconds("2021-06-01")
    shot = weather.schedule(world, start, 0.2, ("LC09",))[1]
    level = weather.cloud_threshold(world, shot)
    n = world.grid30.shape[0]
    whole = render.render(world, shot, epoch_of(start), level, 0, n)
    for a, b in ((0, 64), (64, n)):
        part = render.render(world, shot, epoch_of(start), level, a, b)
        assert part.b8.shape == (min(2 * b, 241) - 2 * a, 241)
        assert np.mean(part.truth != whole.truth[a:b]) < 1e-3
        difference = part.b8.astype(float) - whole.b8[2 * a : 2 * b]
        scale = whole.b8.astype(float).std()
        assert np.std(difference) < 0.06 * scale  # another draw of the noise, nothing else
        assert abs(np.mean(difference)) < 0.01 * scale


def test_sun_at_known_moments() -> None:
    # the sun passes the zenith of the tropic at the June solstice, and stands in the south
    # at noon of the December one at 90 - 30 - 23.4 degrees
    assert sensor.sun(milliseconds("2021-06-21T12:02"), 0.0, 23.44)[1] > 89
    azimuth, elevation = sensor.sun(milliseconds("2021-12-21T11:58"), 0.0, 30.0)
    assert azimuth == pytest.approx(180, abs=0.5)
    assert elevation == pytest.approx(36.56, abs=0.1)
    # a real scene: LC08_L1TP_017051_20151205, at 16:06:07
    azimuth, elevation = sensor.sun(milliseconds("2015-12-05T16:06:06.877"), -86.505, 13.008)
    assert (azimuth, elevation) == pytest.approx((147.74, 48.24), abs=0.4)


def test_broken_products(tmp_path: Path) -> None:
    archive = simulate.archive(tmp_path, seed=1, size=161, years=0.5, broken=5)
    broken = [s for s in archive.scenes if s.broken]
    assert {s.broken for s in broken} == {
        "truncated", "missing", "fill", "foreign", "unfinished",
    }  # fmt: skip
    assert not any(s.usable for s in broken)
    assert simulate.load(tmp_path) == archive
    for scene in broken:
        b8 = scene.path / f"{scene.id}_B8.TIF"
        if scene.broken == "fill":
            assert not read(b8).any()
        elif scene.broken == "truncated":
            with pytest.raises(rasterio.errors.RasterioIOError):
                read(b8)
        elif scene.broken == "foreign":
            assert "_135040_" in (scene.path / f"{scene.id}_MTL.txt").read_text()
        else:
            assert not b8.exists()


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="simulate size: expected 161 to 15481"):
        simulate.archive(tmp_path, size=100)
    with pytest.raises(ValueError, match="simulate satellites: expected some of"):
        simulate.archive(tmp_path, satellites=("LE07",))
    with pytest.raises(ValueError, match="simulate years"):
        simulate.archive(tmp_path, years=0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="a folder that can be written"):
        simulate.archive(tmp_path / "file", size=161)


@pytest.mark.slow
def test_workers_write_the_same_pixels(tmp_path: Path) -> None:
    one = simulate.archive(tmp_path / "one", seed=2, size=201, years=0.2, jobs=1)
    two = simulate.archive(tmp_path / "two", seed=2, size=201, years=0.2, jobs=2)
    assert [s.fractions for s in one.scenes] == [s.fractions for s in two.scenes]
    for a, b in zip(one.scenes, two.scenes, strict=True):
        for file in sorted(a.path.glob("*.TIF")):
            assert np.array_equal(read(file), read(b.path / file.name))


@pytest.mark.slow
def test_a_strip_of_a_full_scene() -> None:
    world, start = World(0, 15481), milliseconds("2021-06-01")
    assert world.grid30.shape == (7741, 7741)
    assert len(world.glaciers) == 4 * 13 * 13
    shot = weather.schedule(world, start, 0.2, ("LC08",))[0]
    a, b = render.strips(world)[40]
    strip = render.render(
        world, shot, epoch_of(start), weather.cloud_threshold(world, shot), a, b
    )
    assert strip.b8.shape == (128, 15481)
    valid = strip.truth & render.VALID > 0
    assert 0.5 < valid.mean() < 0.95  # the footprint is tilted
    assert not strip.b8[::2, ::2][~valid].any()
    assert np.all(strip.qa[~valid] == 1)
    ice = strip.truth & render.ICE > 0
    x, y = world.grid30.x(np.arange(7741)), world.grid30.y(np.arange(a, b))
    outlined = np.zeros_like(ice)
    for glacier in world.glaciers:
        outlined |= glacier.inside(x[None, :], y[:, None])
    assert ice.sum() > 5000
    # The scene is some metres off, so pixels at the outlines change sides.
    assert (ice != outlined & valid).sum() < 0.02 * ice.sum()
