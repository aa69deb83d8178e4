"""The calendar of a glacier's scenes: what is counted as what, and that it is drawn."""

from __future__ import annotations

import pytest
import rasterio

from hmavel.scene_calendar import COLOURS, draw_calendar, kind_of, months_of


def row(day: str, reason: str = "") -> dict:
    return {"time": f"{day}T04:40:11.519", "accepted": not reason, "reason": reason}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("", "accepted"),
        ("cloud 0.45 > 0.30", "cloud"),
        ("snow 0.95 > 0.90", "snow"),
        ("shadow 0.65 > 0.60", "shadow"),
        ("saturated 0.25 > 0.20", "saturated"),
        ("valid 0.40 < 0.60", "little of it in the image"),
        ("outside", "little of it in the image"),
        ("bare ground 0.00 < 0.10", "no bare ground"),
        ("unreadable: read B6: expected pixels", "unreadable"),
        ("in EPSG:32644, most scenes are in EPSG:32645", "other"),
    ],
)
def test_reasons_are_sorted_into_kinds(reason, kind):
    assert kind_of(row("2021-07-01", reason)) == kind
    assert kind in COLOURS


def test_months_are_counted():
    rows = [row("2021-08-02"), row("2021-07-31", "cloud 0.4 > 0.3"), row("2021-07-01"),
            row("2021-07-17", "cloud 0.9 > 0.3")]  # fmt: skip
    found = months_of(rows)
    assert list(found) == ["2021-07", "2021-08"]
    assert found["2021-07"] == {"accepted": 1, "cloud": 2}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("years", [1, 12])
def test_a_picture_is_drawn(tmp_path, years):
    days = [f"{2013 + k % years}-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(60)]
    rows = [row(day, "" if k % 3 else "cloud") for k, day in enumerate(days)]
    path = tmp_path / "g" / "scenes.png"
    draw_calendar(path, rows, "a glacier")
    with rasterio.open(path) as picture:
        assert picture.width > 900
        image = picture.read()[:3]
    blue = (image.reshape(3, -1).T == (0, 0x72, 0xB2)).all(axis=1).sum()
    grey = (image.reshape(3, -1).T == (0x99, 0x99, 0x99)).all(axis=1).sum()
    assert blue > grey > 100
    assert [p.name for p in path.parent.iterdir()] == ["scenes.png"]
