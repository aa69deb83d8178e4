"""Inventories and outlines: one schema out of many, refusals that say why, metres on grids."""

from __future__ import annotations

import logging
import math

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from shapely import affinity
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from hmavel import Grid, glaciers
from hmavel.errors import GlacierError
from hmavel.outline_grid import glacier_grid, surroundings
from hmavel.polygons import buffer, rasterize, read_polygons, utm_epsg


def disc(lon: float, lat: float, radius_m: float) -> Polygon:
    """Return a true circle on the ground, in WGS84."""
    epsg = 32600 + int((lon + 180) // 6) + 1
    centre = gpd.GeoSeries([Point(lon, lat)], crs=4326).to_crs(epsg)
    return centre.buffer(radius_m, quad_segs=64).to_crs(4326).iloc[0]


def write(path, shapes, crs=4326, **columns):
    gpd.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


RGI7 = {
    "rgi_id": ["RGI2000-v7.0-G-15-00002", "RGI2000-v7.0-G-15-00001"],
    "o1region": ["15", "13"],
    "glac_name": ["Zemu", None],
    "area_km2": [28.2, 3.1],
    "utm_zone": [45, 45],
}
TWO = [disc(88.0, 28.0, 3000), disc(88.2, 28.1, 1000)]


# ---------------------------------------------------------------- one schema


def test_rgi7_file_comes_out_in_the_schema(tmp_path):
    frame = glaciers.read_glaciers(write(tmp_path / "rgi7.gpkg", TWO, **RGI7))
    assert tuple(frame.columns) == glaciers.SCHEMA
    assert frame.crs.to_epsg() == 4326
    assert list(frame["id"]) == sorted(RGI7["rgi_id"])
    assert list(frame["name"]) == ["", "Zemu"]
    assert list(frame["o1region"]) == ["13", "15"]
    assert list(frame["area_km2"]) == [3.1, 28.2]
    assert list(frame["utm_epsg"]) == [32645, 32645]


def test_rgi6_columns_and_a_projected_file(tmp_path):
    shapes = gpd.GeoSeries(TWO, crs=4326).to_crs(32645)
    path = write(
        tmp_path / "rgi6.shp",
        list(shapes),
        32645,
        RGIId=["RGI60-15.03734", "RGI60-15.03733"],
        Area=[28.2, 3.1],
        O1Region=["15", "15"],
        Name=["Zemu", None],
    )
    frame = glaciers.read_glaciers(path)
    assert list(frame["id"]) == ["RGI60-15.03733", "RGI60-15.03734"]
    assert frame.geometry.iloc[1].centroid.distance(TWO[0].centroid) < 1e-6


def test_any_file_with_a_mapping_and_areas_measured(tmp_path):
    path = write(tmp_path / "mine.gpkg", TWO, code=[7, 12], label=["a", "b"])
    frame = glaciers.read_glaciers(path, columns={"id": "code", "name": "label"})
    assert list(frame["id"]) == ["12", "7"]
    # pi r2 by a polygon of 256 sides (1e-4 less), in UTM's scale (0.9996 to 1.0004 squared)
    assert frame["area_km2"].to_numpy() == pytest.approx([math.pi, 9 * math.pi], rel=1.5e-3)


def test_a_missing_area_is_measured_and_a_stated_one_kept(tmp_path):
    columns = {**RGI7, "area_km2": [float("nan"), 3.0]}
    frame = glaciers.read_glaciers(write(tmp_path / "a.gpkg", TWO, **columns))
    assert frame["area_km2"].iloc[0] == 3.0
    assert frame["area_km2"].iloc[1] == pytest.approx(9 * math.pi, rel=1.5e-3)


@pytest.mark.parametrize("factor", [100.0, 1e6, 1e-6])
def test_areas_in_another_unit_are_refused(tmp_path, factor):
    columns = {**RGI7, "area_km2": [28.2 * factor, 3.1 * factor]}
    path = write(tmp_path / "a.gpkg", TWO, **columns)
    with pytest.raises(GlacierError, match="areas in km2"):
        glaciers.read_glaciers(path)
    measured = glaciers.read_glaciers(path, columns={"area_km2": None})
    assert measured["area_km2"].max() == pytest.approx(9 * math.pi, rel=1.5e-3)


def test_wrong_mapping_is_refused(tmp_path):
    path = write(tmp_path / "mine.gpkg", TWO, code=["a", "b"])
    with pytest.raises(GlacierError, match=r"an id column .* columns code"):
        glaciers.read_glaciers(path)
    with pytest.raises(GlacierError, match="a column 'nr'"):
        glaciers.read_glaciers(path, columns={"id": "nr"})
    with pytest.raises(ValueError, match="got ident"):
        glaciers.read_glaciers(path, columns={"ident": "code"})


# ---------------------------------------------------------------- hostile files


def test_self_crossing_outline_is_repaired(tmp_path):
    tie = Polygon([(88, 28), (88.1, 28.1), (88.1, 28), (88, 28.1)])  # two triangles
    assert not tie.is_valid
    path = write(tmp_path / "tie.gpkg", [tie], rgi_id=["RGI2000-v7.0-G-15-00009"])
    outline = glaciers.read_glaciers(path).geometry.iloc[0]
    assert outline.is_valid
    assert outline.area == pytest.approx(0.005, rel=1e-9)


def test_lines_and_points_are_no_glaciers(tmp_path):
    path = write(tmp_path / "l.gpkg", [LineString([(88, 28), (88.1, 28.1)])], rgi_id=["a"])
    with pytest.raises(GlacierError, match=r"rows without one \(LineString\)"):
        glaciers.read_glaciers(path)


def test_file_without_crs(tmp_path, caplog):
    path = write(tmp_path / "n.shp", TWO, rgi_id=["a", "b"])
    path.with_suffix(".prj").unlink()
    with pytest.raises(GlacierError, match="expected a coordinate system"):
        glaciers.read_glaciers(path)
    with caplog.at_level(logging.INFO, "hmavel"):
        frame = glaciers.read_glaciers(path, crs="EPSG:4326")
    assert "EPSG:4326" in caplog.text
    assert frame.geometry.iloc[0].centroid.x == pytest.approx(88.0)


def test_missing_empty_and_broken_files(tmp_path):
    with pytest.raises(GlacierError, match="no such file"):
        glaciers.read_glaciers(tmp_path / "none.gpkg")
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(GlacierError, match="empty"):
        glaciers.read_glaciers(empty)
    broken = tmp_path / "broken.gpkg"
    broken.write_bytes(write(tmp_path / "whole.gpkg", TWO, **RGI7).read_bytes()[:3000])
    with pytest.raises(GlacierError, match=r"broken\.gpkg: expected a readable"):
        glaciers.read_glaciers(broken)


def test_several_layers_must_be_chosen(tmp_path):
    path = tmp_path / "two.gpkg"
    frame = gpd.GeoDataFrame(RGI7, geometry=TWO, crs=4326)
    frame.to_file(path, layer="g")
    frame.to_file(path, layer="c")
    with pytest.raises(GlacierError, match="one layer"):
        glaciers.read_glaciers(path)
    assert len(glaciers.read_glaciers(path, layer="c")) == 2
    with pytest.raises(GlacierError, match="a layer 'x'"):
        glaciers.read_glaciers(path, layer="x")


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "a\\b", "", "..", ".hidden", "wgs84", "x\ny", "con:", "a" * 121]
)
def test_ids_that_cannot_name_a_folder_are_refused(tmp_path, name):
    path = write(tmp_path / "x.gpkg", TWO, rgi_id=["RGI2000-v7.0-G-15-1", name])
    with pytest.raises(GlacierError, match="name a folder"):
        glaciers.read_glaciers(path)


def test_repeated_ids(tmp_path):
    same = write(tmp_path / "same.gpkg", [TWO[0], TWO[0]], rgi_id=["a", "a"])
    assert len(glaciers.read_glaciers(same)) == 1
    parts = write(
        tmp_path / "parts.gpkg", [*TWO, disc(89, 28, 500)], rgi_id=["a", "A", "b"],
        area_km2=[31.4, 31.4, 0.8],
    )  # fmt: skip
    with pytest.raises(GlacierError, match="one outline per id"):
        glaciers.read_glaciers(parts)
    frame = glaciers.read_glaciers(parts, dissolve=True)
    assert list(frame["id"]) == ["a", "b"]
    assert frame.geometry.iloc[0].geom_type == "MultiPolygon"
    assert frame["area_km2"].to_numpy() == pytest.approx([10 * math.pi, 0.8], rel=1.5e-3)


def test_complexes_of_rgi7(tmp_path):
    columns = RGI7 | {"rgi_id": ["RGI2000-v7.0-C-15-00002", "RGI2000-v7.0-C-15-00001"]}
    columns.pop("glac_name")  # complexes have no name of their own
    frame = glaciers.read_glaciers(write(tmp_path / "rgi7c.gpkg", TWO, **columns))
    assert list(frame["id"]) == sorted(columns["rgi_id"])
    assert list(frame["name"]) == ["", ""]


def test_inventory_like_gamdams_with_a_column_mapping(tmp_path):
    """Numbers for ids, areas in m2 under another name, parts of one glacier, a torn outline."""
    bow = Polygon([(87.0, 28.0), (87.04, 28.03), (87.04, 28.0), (87.0, 28.03)])
    shapes = [*TWO, affinity.translate(TWO[1], 0.05), bow]
    path = write(tmp_path / "ggi.shp", shapes, GGI=[7, 8, 8, 9], Area_m2=[2.8e7, 1.0, 2.0, 3.0])
    with pytest.raises(GlacierError, match="an id column"):
        glaciers.read_glaciers(path)
    columns = {"id": "GGI", "area_km2": None}
    with pytest.raises(GlacierError, match="one outline per id"):
        glaciers.read_glaciers(path, columns=columns)
    frame = glaciers.read_glaciers(path, columns=columns, dissolve=True)
    assert list(frame["id"]) == ["7", "8", "9"]
    assert frame.geometry.is_valid.all()
    assert frame["area_km2"][0] == pytest.approx(math.pi * 9, rel=0.01)
    assert frame["area_km2"][1] == pytest.approx(2 * math.pi, rel=0.01)
    # Half of the box of the bow: both its triangles.
    assert 5 < frame["area_km2"][2] < 8


def test_antimeridian_and_polar_outlines_are_left_out_and_named(tmp_path, caplog):
    wrapped = MultiPolygon([box(179.9, 67, 180, 67.1), box(-180, 67, -179.9, 67.1)])
    shapes = [TWO[0], wrapped, box(10, 84.5, 10.2, 84.6)]
    path = write(tmp_path / "far.gpkg", shapes, rgi_id=["ok", "chukotka", "pole"])
    with caplog.at_level(logging.WARNING, "hmavel"):
        frame = glaciers.read_glaciers(path)
    assert list(frame["id"]) == ["ok"]
    assert [name for name, _ in frame.attrs["refused"]] == ["chukotka", "pole"]
    assert "chukotka" in caplog.text
    with pytest.raises(GlacierError, match="antimeridian"):
        glaciers.select(frame, ids=["chukotka"])
    with pytest.raises(GlacierError, match="polar"):
        glacier_grid(shapes[2])
    only = write(tmp_path / "only.gpkg", [wrapped], rgi_id=["chukotka"])
    with pytest.raises(GlacierError, match="antimeridian"):
        glaciers.read_glaciers(only)


# ---------------------------------------------------------------- GMT text


def test_gmt_text_polygons(tmp_path):
    path = tmp_path / "rock.gmt"
    path.write_text("# rock\n>\n0 0 5\n0 30 5\n30 30 5\n>\n100\t0\n100\t10\n110\t10\n110\t0\n")
    with pytest.raises(GlacierError, match="coordinate system"):
        read_polygons(path)
    frame = read_polygons(path, crs="EPSG:32607")
    assert list(frame.area) == [450.0, 100.0]
    assert not frame.has_z.any()
    path.write_text(">\n0 0\n0 x\n")
    with pytest.raises(GlacierError, match="'0 x' on line 3"):
        read_polygons(path, crs="EPSG:32607")
    path.write_text("# nothing\n")
    with pytest.raises(GlacierError, match="empty"):
        read_polygons(path, crs="EPSG:32607")


# ---------------------------------------------------------------- selection


def test_select(tmp_path):
    frame = glaciers.read_glaciers(write(tmp_path / "r.gpkg", TWO, **RGI7))
    big, small = RGI7["rgi_id"]

    def chosen(**criteria):
        return list(glaciers.select(frame, **criteria)["id"])

    assert chosen() == [big]
    assert chosen(min_area_km2=28.2) == []  # strictly larger
    assert chosen(min_area_km2=1) == [small, big]
    assert chosen(min_area_km2=1, regions=[13]) == [small]
    assert chosen(min_area_km2=1, regions=["15"], bbox=(88.15, 28, 88.3, 28.2)) == []
    assert chosen(min_area_km2=1, bbox=(88.15, 28, 88.3, 28.2)) == [small]
    assert chosen(ids=[small]) == [small]  # a named glacier is taken whatever its size
    with pytest.raises(GlacierError, match="none such"):
        chosen(ids=["RGI60-15.00001"])
    with pytest.raises(ValueError, match="west < east"):
        chosen(bbox=(88, 29, 89, 28))


# ---------------------------------------------------------------- metres and grids


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [(75.9, 36, 32643), (78.0001, 36, 32644), (179.95, 10, 32660), (-179.95, 10, 32601),
     (86.9, -28, 32745)],
)  # fmt: skip
def test_utm_zone(lon, lat, epsg):
    assert utm_epsg(box(lon - 0.02, lat - 0.02, lon + 0.02, lat + 0.02)) == epsg


@pytest.mark.parametrize(("lon", "lat"), [(74.0, 41.0), (87.0, 28.0), (89.99, 28.0)])
def test_buffer_is_in_metres(lon, lat):
    wide = buffer(disc(lon, lat, 2000), 1000)
    area = gpd.GeoSeries([wide], crs=4326).to_crs(6933).area.iloc[0]
    assert math.sqrt(area / math.pi) == pytest.approx(3000, rel=1.5e-3)
    back = buffer(wide, -1000)
    assert buffer(back, -2100).is_empty


def test_surroundings_keep_their_distance_from_every_glacier():
    outline, other = disc(88.0, 28.0, 2000), disc(88.05, 28.0, 1000)
    others = gpd.GeoDataFrame({"id": ["a", "b"]}, geometry=[outline, other], crs=4326)
    ring = surroundings(outline, gap_m=300, width_m=4000, others=others)
    ring, ice = (gpd.GeoSeries(g, crs=4326).to_crs(32645) for g in ([ring], [outline, other]))
    assert ring.distance(ice.iloc[0]).iloc[0] == pytest.approx(300, abs=1)
    assert ring.distance(ice.iloc[1]).iloc[0] == pytest.approx(300, abs=1)
    # ring of 6300 m less 2300 m, less the part of the other's disc (1300 m) outside 2300 m
    assert 100e6 < ring.area.iloc[0] < math.pi * (6300**2 - 2300**2)
    with pytest.raises(ValueError, match="width_m > 0"):
        surroundings(outline, width_m=0)


def test_glacier_grid_lies_on_the_common_lattice():
    outline = disc(88.0, 28.0, 3000)
    grid = glacier_grid(outline, step=120, margin_m=5000)
    assert grid.crs == CRS.from_epsg(32645)
    assert [edge % 120 for edge in grid.bounds] == [0, 0, 0, 0]
    left, bottom, right, top = (
        gpd.GeoSeries([outline], crs=4326).to_crs(32645).total_bounds
    )
    gaps = np.array([left, bottom, -right, -top]) - np.array([1, 1, -1, -1]) * grid.bounds
    assert np.all((gaps >= 5000) & (gaps < 5120))
    other = glacier_grid(affinity.translate(outline, 0.037, 0.011), margin_m=1000)
    assert other.col(grid.x(0)) == round(other.col(grid.x(0)))
    with pytest.raises(ValueError, match="step > 0"):
        glacier_grid(outline, step=0)


def test_rasterize_through_another_crs():
    outline = disc(88.0, 28.0, 3000)
    grid = glacier_grid(outline, step=30, margin_m=600)
    ice = rasterize(outline, grid, crs=4326)
    # a circle's raster area is true to about its outline's length x pixel / sqrt(n)
    assert ice.sum() * 900 == pytest.approx(math.pi * 9e6, rel=2e-3)
    centre = (ice.shape[0] // 2, ice.shape[1] // 2)
    assert ice[centre]
    assert not ice[0].any()
    touched = rasterize(outline, grid, crs=4326, all_touched=True)
    assert touched[ice].all()
    assert 0.5 < (touched.sum() - ice.sum()) * 900 / (2 * math.pi * 3000 * 30) < 1.5


def test_rasterize_beyond_and_beside_the_grid():
    frame = gpd.GeoDataFrame(geometry=[disc(88, 28, 3000), disc(95, 30, 3000)], crs=4326)
    grid = Grid(CRS.from_epsg(32645), Affine(30, 0, 300000, 0, -30, 4000000), (10, 12))
    assert rasterize(frame, grid).shape == (10, 12)
    assert not rasterize(frame, grid).any()
    inside = glacier_grid(frame.geometry[0], step=30, margin_m=0).crop(90, 90, 5, 7)
    assert rasterize(frame, inside).all()
    with pytest.raises(ValueError, match="coordinate system"):
        rasterize(frame.geometry[0], grid)


# ---------------------------------------------------------------- real outlines


def test_everest_inventory(shared_data):
    frame = glaciers.read_glaciers(
        shared_data / "outlines" / "everest" / "15_rgi60_glacier_outlines.gpkg"
    )
    assert len(frame) == 86
    big = glaciers.select(frame)
    assert len(big) == 11
    assert set(big["utm_epsg"]) == {32645}
    drawn = big.to_crs(6933).area.to_numpy() / 1e6
    assert drawn == pytest.approx(big["area_km2"].to_numpy(), rel=1e-3)


def test_real_rgi7_glacier_is_as_large_as_stated(shared_data):
    path = shared_data / "hma_cube" / "single_glacier_vec.json"
    stated = glaciers.read_glaciers(path)
    measured = glaciers.read_glaciers(path, columns={"area_km2": None})
    assert stated["id"].iloc[0] == "RGI2000-v7.0-G-15-16257"
    assert measured["area_km2"].iloc[0] == pytest.approx(stated["area_km2"].iloc[0], rel=1e-6)
    assert stated["utm_epsg"].iloc[0] == 32646


def test_real_gmt_bedrock(shared_data):
    rock = read_polygons(
        shared_data / "yahtse" / "StEliasMtn_utm7v_rock.gmt", crs="EPSG:32607"
    )
    assert len(rock) == 2102
    assert rock.is_valid.all()


def test_real_outlines_with_flaws_are_repaired(shared_data):
    path = shared_data / "outlines" / "regions" / "boundary_mountain_regions_hma_v3_clean.gpkg"
    raw = gpd.read_file(path)
    assert not raw.is_valid.all()
    mended = read_polygons(path)
    assert mended.is_valid.all()
    assert mended.to_crs(6933).area.to_numpy() == pytest.approx(
        raw.to_crs(6933).area.to_numpy(), rel=1e-6
    )
