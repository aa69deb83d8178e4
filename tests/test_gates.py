"""Pass, warn, fail: figures against limits, and the figures themselves."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from hmavel.config import Config, from_dict
from hmavel.errors import ConfigError
from hmavel.gates import Limits, ground_figures, judge, spread_of_places

FINE = {
    "static_count": 2000.0, "static_spread_m": 5000.0, "bias_m": 5.0, "delta_m": 3.0,
    "outliers": 0.05, "ground_matched": 0.9, "ice_matched": 0.8, "closure": 1.0,
}  # fmt: skip


def test_every_limit_has_a_figure_and_an_option() -> None:
    assert set(FINE) == {field.name for field in fields(Limits)}
    assert Config().gates.limits() == Limits()


@pytest.mark.parametrize("wrong", [{"static_count": [100, 300]}, {"bias_m": [300, 30]}])
def test_a_failing_limit_is_the_worse_one(wrong: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError, match=r"\[warn, fail\]"):
        from_dict({"gates": wrong})


def test_all_within_passes() -> None:
    gate = judge(FINE)
    assert (gate.level, gate.reasons, gate.text) == ("pass", (), "")
    assert gate.figures == FINE


@pytest.mark.parametrize("name", list(FINE))
def test_each_figure_warns_and_fails_on_its_own(name: str) -> None:
    warn, fail = 10.0, 5.0
    least = name in ("static_count", "static_spread_m", "ground_matched", "ice_matched")
    if not least:
        warn, fail = 5.0, 10.0
    limits = Limits(**{name: (warn, fail)})
    others = FINE | {name: 7.0}
    assert judge(others, limits).level == "warn"
    bad = judge(FINE | {name: 4.0 if least else 11.0}, limits)
    assert bad.level == "fail"
    assert len(bad.reasons) == 1
    assert "at least 5" in bad.text if least else "at most 10" in bad.text
    assert judge(FINE | {name: 12.0 if least else 4.0}, limits).level == "pass"


def test_the_worst_comes_first_and_the_unknown_passes() -> None:
    gate = judge({"bias_m": 50.0, "delta_m": 80.0, "closure": None, "outliers": np.nan})
    assert gate.level == "fail"
    assert gate.text.startswith("2 sigma of 80.0 m")
    assert len(gate.reasons) == 2


def test_figures_of_the_ground() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, (2.0, 3.0), (100, 120, 2)).transpose(2, 0, 1)
    stable = np.zeros((100, 120), bool)
    stable[20:80, 30:90] = True
    x[20:30, 30:90] = np.nan
    wrong = stable & (rng.random(stable.shape) < 0.2)
    x[wrong] += 60.0
    found = ground_figures(x, y, stable, 120.0)
    assert found["static_count"] == 3000
    assert found["ground_matched"] == pytest.approx(5 / 6)
    assert found["delta_m"] == pytest.approx(6.0, rel=0.06)
    assert found["outliers"] == pytest.approx(0.2, abs=0.03)
    # a rectangle of 50 by 60 cells
    assert found["static_spread_m"] == pytest.approx(120 * np.hypot(50, 60) / 12**0.5, rel=0.01)


def test_little_or_no_ground_has_no_figures() -> None:
    nothing = np.zeros((9, 9), bool)
    values = np.zeros((9, 9))
    found = ground_figures(values, values, nothing, 120.0)
    assert found["static_count"] == 0
    assert found["ground_matched"] is None
    assert found["delta_m"] is None
    assert judge(found).level == "warn"
    assert judge(found, Limits(static_count=(300, 100))).level == "fail"
    assert spread_of_places([], []) == 0.0
