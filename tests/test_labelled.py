"""compose_months on DataArrays: the same numbers, with their coordinates, at once or lazily."""

from __future__ import annotations

import networks as nw
import numpy as np
import pytest
import xarray as xr

from hmavel.month import compose_months
from hmavel.month_kernel import Hyperparameters

PRIOR = Hyperparameters(
    level=1000.0, season=20.0, shape=0.9, memory=20.0, event=2.0, duration=0.4
)


@pytest.fixture(scope="module")
def pairs():
    """Twelve cells of one season, and the same as a DataArray."""
    sim = nw.simulate(["season"], 31, cells=12, pairs=80, last="2015-01-01")
    v = sim.v.reshape(-1, 3, 4)
    labelled = xr.DataArray(
        v, dims=("mid_date", "y", "x"), name="vx", attrs={"units": "m/yr"},
        coords={
            "x": 500_000 + 120 * np.arange(4.0), "y": 3_000_000 - 120 * np.arange(3.0),
            "start": ("mid_date", sim.start), "end": ("mid_date", sim.end), "mapping": 32646,
        },
    )  # fmt: skip
    return sim, v, labelled


def test_numbers_are_the_same_and_coordinates_stay(pairs):
    sim, v, labelled = pairs
    sigma = sim.sigma[:, 0]
    kwargs = {"hyperparameters": PRIOR, "scene_sigma": 1.05}
    plain = compose_months(v, sigma, sim.start, sim.end, **kwargs)
    made = compose_months(labelled, sigma, "start", "end", **kwargs)
    assert made.v.dims == ("month", "y", "x")
    for name in ("v", "sigma", "flag", "count", "next_correlation", "overlap_median"):
        np.testing.assert_allclose(made[name], getattr(plain, name), rtol=1e-12)
    np.testing.assert_array_equal(made.x, labelled.x)
    np.testing.assert_array_equal(made.month.values.astype("M8[M]"), plain.months)
    assert int(made.mapping) == 32646
    assert made.sigma.attrs["units"] == "m year-1"
    # The order of dimensions is free, and so are the kinds of sigma and dates.
    turned = labelled.transpose("x", "mid_date", "y")
    wide = xr.DataArray(sigma, dims="mid_date")
    again = compose_months(turned, wide, labelled.start, labelled.end, **kwargs)
    assert again.v.dims == ("month", "x", "y")
    np.testing.assert_allclose(again.v.transpose("month", "y", "x"), plain.v, rtol=1e-9)


def test_one_cell_and_months_asked_for(pairs):
    sim, _, labelled = pairs
    wanted = np.arange("2013-01", "2014-01", dtype="M8[M]")
    made = compose_months(
        labelled[:, 1, 2], sim.sigma[:, 0], "start", "end", months=wanted,
        hyperparameters=PRIOR,
    )
    assert made.v.dims == ("month",)
    assert np.all(made.flag[:3] == 2)
    assert float(made.x) == float(labelled.x[2])


def test_dask_blocks_are_computed_when_asked_for(pairs):
    pytest.importorskip("dask")
    sim, v, labelled = pairs
    sigma = sim.sigma[:, 0]
    reads = []

    def counted(block):
        reads.append(block.shape)
        return block

    lazy = labelled.chunk({"mid_date": 30, "y": 2, "x": 2})
    told = lazy.data.map_blocks(counted, dtype=v.dtype, meta=np.empty((0, 0, 0)))
    lazy = lazy.copy(data=told)
    made = compose_months(lazy, sigma, "start", "end", hyperparameters=PRIOR)
    assert reads == []
    assert made.v.chunks is not None
    part = made.v.isel(y=slice(0, 2), x=slice(0, 2)).compute(scheduler="synchronous")
    assert len(reads) == 3  # the pairs' blocks of these cells, and no others
    plain = compose_months(v, sigma, sim.start, sim.end, hyperparameters=PRIOR)
    np.testing.assert_allclose(part, plain.v[:, :2, :2], rtol=1e-9)


def test_all_blocks_share_what_is_learnt(pairs):
    pytest.importorskip("dask")
    sim, v, labelled = pairs
    sigma = sim.sigma[:, 0]
    kwargs = {"method": "smooth", "scene_sigma": 1.05}
    made = compose_months(labelled.chunk({"x": 1}), sigma, "start", "end", **kwargs)
    plain = compose_months(v, sigma, sim.start, sim.end, **kwargs)
    np.testing.assert_allclose(made.v.compute(scheduler="synchronous"), plain.v, atol=0.05)


def test_refusals(pairs):
    sim, _, labelled = pairs
    sigma = sim.sigma[:, 0]
    with pytest.raises(ValueError, match="plain arrays"):
        compose_months(labelled, sigma, "start", "end", covariance=True)
    other = xr.DataArray(sim.start, dims="pair")
    with pytest.raises(ValueError, match="name the dimension"):
        compose_months(labelled, sigma, other, other + np.timedelta64(16, "D"))


WANTED = np.arange("2013-01", "2015-01", dtype="M8[M]")


@pytest.mark.parametrize("method", ["gp", "smooth", "overlap"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("empty", ["pairs", "cells", "v", "sigma"])
def test_nothing_to_compose_gives_blank_months(pairs, method, lazy, empty):
    sim, _, labelled = pairs
    sigma = np.array(sim.sigma[:, 0])
    if lazy:
        pytest.importorskip("dask")
        labelled = labelled.chunk({"y": 1})
    if empty == "pairs":
        labelled, sigma = labelled[:0], sigma[:0]
    elif empty == "cells":
        labelled = labelled[:, :0]
    elif empty == "v":
        labelled = labelled * np.nan
    else:
        sigma = sigma * np.nan
    made = compose_months(labelled, sigma, "start", "end", months=WANTED, method=method)
    assert made.v.sizes == {"month": len(WANTED), "y": labelled.sizes["y"], "x": 4}
    assert (made.flag.values == 2).all()
    assert np.isnan(made.v.values).all()


@pytest.mark.parametrize("method", ["gp", "smooth"])
def test_a_glacier_between_the_cells_of_a_lattice_is_learnt_from(pairs, method):
    """The prior is the one that the same glacier alone, as plain arrays, would give."""
    pytest.importorskip("dask")
    sim, v, _ = pairs
    sigma, v = sim.sigma[:, 0], v.reshape(-1, 2, 6)
    wide = np.full((len(v), 40, 40), np.nan)
    wide[:, 37:39, 33:39] = v  # between rows 36 and 39 of a lattice of every third cell
    lazy = xr.DataArray(wide, dims=("pair", "y", "x")).chunk({"y": 20, "x": 20})
    made = compose_months(lazy, sigma, sim.start, sim.end, method=method, scene_sigma=1.05)
    plain = compose_months(v, sigma, sim.start, sim.end, method=method, scene_sigma=1.05)
    found = made.compute(scheduler="synchronous")
    np.testing.assert_allclose(found.v[:, 37:39, 33:39], plain.v, rtol=1e-6)
    assert int((found.flag < 2).sum()) == int((plain.flag < 2).sum())


def test_masked_sigma_and_dates_beside_a_dataarray(pairs):
    sim, v, labelled = pairs
    sigma = np.array(sim.sigma[:, 0])
    out = np.arange(len(sigma)) == 7
    masked = np.ma.masked_array(np.where(out, 1e-3, sigma), out)
    kwargs = {"hyperparameters": PRIOR, "months": WANTED}
    made = compose_months(labelled, masked, "start", "end", **kwargs)
    plain = compose_months(v, np.where(out, np.nan, sigma), sim.start, sim.end, **kwargs)
    np.testing.assert_allclose(made.v, plain.v, rtol=1e-9)
    with pytest.raises(ValueError, match="got NaT"):
        compose_months(labelled, sigma, np.ma.masked_array(sim.start, out), "end", **kwargs)
