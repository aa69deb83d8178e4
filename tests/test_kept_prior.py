"""What months were learnt with: recorded, kept from run to run, fixed on request."""

from __future__ import annotations

import json
from dataclasses import replace

import networks as nw
import numpy as np
import pytest
import rasterio
from test_itslive import OUTLINE, cube

from hmavel import config, kept_prior, workflow
from hmavel.errors import ConfigError
from hmavel.finite import without_nan
from hmavel.month import compose_months
from hmavel.month_kernel import Hyperparameters

PLAIN = Hyperparameters(100.0, 5.0, 0.8, 10.0, 5.0, 0.4)


@pytest.mark.parametrize("name", ["season", "spring", "surge"])
def test_priors_come_back_to_the_last_bit_with_their_clocks_and_bursts(name, tmp_path):
    sim = nw.simulate([name], 17, pairs=250)
    args = sim.v[:, 0], sim.sigma[:, 0], sim.start, sim.end
    m = compose_months(*args, scene_sigma=nw.SCENE_SIGMA)
    record = kept_prior.as_record({"vx": m, "vy": m})
    (tmp_path / "prior.json").write_text(json.dumps(without_nan(record)))
    read = kept_prior.fixed(tmp_path / "prior.json", "any")
    assert read["vx"].hyperparameters == m.hyperparameters
    again = compose_months(
        *args, scene_sigma=nw.SCENE_SIGMA, hyperparameters=read["vy"].hyperparameters
    )
    np.testing.assert_array_equal(again.v, m.v)
    np.testing.assert_array_equal(again.sigma, m.sigma)
    if name == "surge":
        assert m.hyperparameters[0].event_pace  # the one truth that needs its clock
        assert "event_pace" not in json.dumps(kept_prior.in_short(record))


@pytest.mark.parametrize(
    "harm",
    [
        {"season": 0.0}, {"season": None}, {"noise": float("nan")}, {"shape": "0.8"},
        {"season_pace": [-1.0] * 24}, {"event_from": "yesterday"}, {"memory": True},
    ],
)  # fmt: skip
def test_a_damaged_record_is_learnt_again_and_a_given_one_refused(harm, tmp_path):
    kind = kept_prior._plain(PLAIN)
    good = {"scene_sigma_m": 0.0, "smoothness": None, "classes": [kind]}
    content = {"fingerprint": "a", "vx": good, "vy": good}
    file = tmp_path / "prior.json"
    file.write_text(json.dumps(content))
    assert kept_prior.kept(tmp_path, "a")["vx"].hyperparameters == (PLAIN,)
    assert kept_prior.kept(tmp_path, "b") == {}
    content["vy"] = good | {"classes": [kind | harm]}
    file.write_text(json.dumps(content))
    assert kept_prior.kept(tmp_path, "a") == {}
    with pytest.raises(kept_prior.ReadError, match="the priors of a run"):
        kept_prior.fixed(file, "any")


@pytest.fixture
def made(tmp_path):
    """Months of a small cube of ITS_LIVE: (configuration, folder of the glacier)."""
    data = cube(pairs=14)
    rng = np.random.default_rng(3)
    for values, truth in ((data.vx, 40), (data.vy, -25)):
        values[:] = (truth + rng.normal(0, 4, values.shape)).round().astype(np.int16)
    data.to_netcdf(tmp_path / "cube.nc")
    (tmp_path / "outline.json").write_text(OUTLINE)
    given = {
        "itslive": {"sources": [str(tmp_path / "cube.nc")], "alone": True},
        "glaciers": {"inventory": str(tmp_path / "outline.json"), "min_area_km2": 0.0},
        "output": {"folder": str(tmp_path / "out"), "stac": True},
    }
    result = workflow.run(config.from_dict(given), jobs=1)
    assert result.failures == []
    return given, tmp_path / "out" / "RGI2000-v7.0-G-15-00001"


def bands(folder):
    with rasterio.open(folder / "velocity_2020-03.tif") as file:
        return file.read(), file.tags()


def learning(monkeypatch):
    """Count how often a prior is learnt from here on."""
    from hmavel import month_block

    calls = []
    for name in ("learn_classes", "learn_scene_sigma"):
        true = getattr(month_block, name)
        monkeypatch.setattr(
            month_block, name, lambda *a, f=true, **k: (calls.append(1), f(*a, **k))[1]
        )
    return calls


def test_a_run_learns_once_as_long_as_its_pairs_are_the_same(made, monkeypatch):
    given, folder = made
    values, tags = bands(folder)
    prior = json.loads((folder / "prior.json").read_text())
    told = json.loads(tags["prior"])
    assert len(told["vx"]) == len(prior["vx"]["classes"]) >= 1
    assert told["vx"][0]["season"] == pytest.approx(
        prior["vx"]["classes"][0]["season"], rel=1e-3
    )
    assets = json.loads((folder / "collection.json").read_text())["assets"]
    assert assets["prior"]["href"] == "./prior.json"
    calls = learning(monkeypatch)
    (folder / "months.json").unlink()  # as if it had been stopped there
    workflow.run(config.from_dict(given), jobs=1)
    np.testing.assert_array_equal(bands(folder)[0], values)
    more = given | {"months": {"last": "2020-12"}}
    workflow.run(config.from_dict(more), jobs=1)
    assert (folder / "velocity_2020-12.tif").is_file()
    np.testing.assert_array_equal(bands(folder)[0], values)
    assert calls == []
    smoother = given | {"months": {"max_disagreement": 2.5}}
    workflow.run(config.from_dict(smoother), jobs=1)  # other pairs may be believed now
    assert len(calls) >= 2


def test_a_run_takes_the_priors_of_another_one(made, tmp_path, monkeypatch):
    given, folder = made
    values, _ = bands(folder)
    calls = learning(monkeypatch)

    def other(name, prior):
        fixed = given | {"months": {"prior": str(prior)}}
        fixed["output"] = {"folder": str(tmp_path / name)}
        return workflow.run(config.from_dict(fixed), jobs=1), tmp_path / name / folder.name

    result, there = other("same", tmp_path / "out")
    assert result.failures == []
    np.testing.assert_allclose(bands(there)[0], values, rtol=1e-6)
    assert len(calls) == 2  # the scenes' errors, which are no part of a prior
    # A prior of ice that never changes gives months that do not.
    still = json.loads((folder / "prior.json").read_text())
    quiet = kept_prior._plain(replace(PLAIN, season=1e-3, event=1e-3))
    for axis in ("vx", "vy"):
        still[axis]["classes"] = [quiet]
    (tmp_path / "still.json").write_text(json.dumps(still))
    result, there = other("still", tmp_path / "still.json")
    assert result.failures == []
    months = np.stack([rasterio.open(f).read(1) for f in sorted(there.glob("velocity_*.tif"))])
    seen = np.isfinite(months).all(axis=0)
    assert seen.any()
    assert np.ptp(months[:, seen], axis=0).max() < 0.01
    # And what is not there is named: before the work, or with the glacier that lacks it.
    with pytest.raises(ConfigError, match=r"months\.prior"):
        other("none", tmp_path / "none.json")
    result, _ = other("empty", tmp_path)
    assert "no such file" in str(result.failures[0])
    for name, value, right in (("prior", str(folder), "gp"), ("smoothness", 3.0, "smooth")):
        wrong = {"method": "overlap", name: value}
        with pytest.raises(ConfigError, match=rf"months\.{name}.*method = \"{right}\""):
            workflow.run(config.from_dict(given | {"months": wrong}), jobs=1)
