"""The catalogue as others read it: every table, the geometries, all or nothing."""

from __future__ import annotations

import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from test_catalogue import AWAY, HERE, choice, decision, entry, inventory, scene

from hmavel.catalogue import Catalogue
from hmavel.catalogue_export import export
from hmavel.errors import WriteError


@pytest.fixture
def catalogue(tmp_path):
    with Catalogue(tmp_path / "c.sqlite") as made:
        made.sync([*map(entry, range(4)), entry(9, reason="superseded")])
        made.sync_glaciers(inventory(HERE, AWAY))
        made.decide("g1", "a", [decision(k, accepted=k > 1) for k in range(4)])
        made.plan_pairs("g1", [choice(2, 3)])
        yield made


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "csv"])
def test_every_table_arrives(catalogue, tmp_path, suffix):
    files = export(catalogue, tmp_path / "out" / f"x.{suffix}")
    if suffix == "gpkg":
        read = {name: gpd.read_file(files[0], layer=name)
                for name in ("scenes", "glaciers", "decisions", "pairs")}  # fmt: skip
        assert len(files) == 1
    else:
        assert [f.name for f in files] == [
            f"x_{name}.{suffix}" for name in ("scenes", "glaciers", "decisions", "pairs")
        ]
        spatial = gpd.read_parquet if suffix == "parquet" else pd.read_csv
        plain = pd.read_parquet if suffix == "parquet" else pd.read_csv
        read = {"scenes": spatial(files[0]), "glaciers": spatial(files[1]),
                "decisions": plain(files[2]), "pairs": plain(files[3])}  # fmt: skip
    assert {name: len(frame) for name, frame in read.items()} == {
        "scenes": 5, "glaciers": 2, "decisions": 4, "pairs": 1
    }  # fmt: skip
    assert list(read["scenes"]["id"])[:2] == [scene(0).id, scene(1).id]
    assert sorted(set(read["scenes"]["state"])) == ["left out", "used"]
    assert list(read["decisions"]["glacier"].unique()) == ["g1"]
    assert list(read["decisions"]["accepted"].astype(int)) == [0, 0, 1, 1]
    assert np.isnan(read["decisions"]["shadow"].astype(float)).all()
    if suffix != "csv":
        assert read["scenes"].crs == 4326
        assert read["scenes"].geometry[0].contains(HERE)
        assert read["glaciers"].geometry[0].equals(HERE)
    assert {p.name for p in files[0].parent.iterdir()} == {f.name for f in files}


def test_what_cannot_be_written_is_said(catalogue, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"expected one of \.gpkg, \.parquet, \.csv"):
        export(catalogue, tmp_path / "x.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        export(catalogue, tmp_path / "file" / "x.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(WriteError, match=r"hmavel\[parquet\]"):
        export(catalogue, tmp_path / "x.parquet")
