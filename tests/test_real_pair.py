"""The chain of one pair on a real one: Yahtse Glacier, Landsat-8, 16 days apart.

Places and speeds were read off the images by hand and with a plain tracker of 64-px windows.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterio.features import geometry_mask
from shapely.geometry import LineString, box

from hmavel import cli

#: Down the middle of the trunk to its front, EPSG:32607.
TRUNK = LineString([
    (471500, 6681000), (474000, 6679000), (477000, 6676500), (479500, 6674000),
    (480300, 6672800), (480300, 6671000), (479800, 6670000), (479300, 6669000),
    (478900, 6668000),
])  # fmt: skip
SEA = LineString([(469500, 6669800), (471500, 6668300), (473000, 6666500)]).buffer(400)
SPEEDS = {(472500, 6680000): (2.2, 3.2), (480200, 6673100): (5.5, 8.0),
          (479300, 6669000): (11.0, 13.5)}  # fmt: skip


@pytest.mark.parametrize(("window", "nmad"), [(64, 0.065), (32, 0.09)])
def test_yahtse(shared_data, tmp_path, capsys, window, nmad):
    folder = shared_data / "yahtse"
    images = [folder / f"LC80630182016{day}LGN00_B8_yahtse.TIF" for day in (200, 216)]
    bedrock = folder / "StEliasMtn_utm7v_rock.gmt"
    status = cli.main([
        "pair", *map(str, images), "--stable", str(bedrock), "--out", str(tmp_path),
        "--window", str(window), "--quiet",
    ])  # fmt: skip
    assert status == 0
    assert "corrected" not in capsys.readouterr().err
    bias = json.loads((tmp_path / "pair.json").read_text())["bias"]
    before, after = bias["before"], bias["after"]
    assert before["median_col"] == pytest.approx(0.105, abs=0.02)
    assert before["median_row"] == pytest.approx(0.198, abs=0.02)
    assert abs(after["median_col"]) < 0.01
    assert abs(after["median_row"]) < 0.01
    assert max(after["nmad_col"], after["nmad_row"]) < nmad
    assert (tmp_path / "pair.png").stat().st_size > 10_000

    with rasterio.open(tmp_path / "velocity.tif") as file:
        assert file.crs.to_epsg() == 32607
        assert file.res == (120.0, 120.0)
        speed = file.read(3) / 365.25

        def inside(shape):
            return geometry_mask([shape], speed.shape, file.transform, invert=True)

    for place, (low, high) in SPEEDS.items():
        x, y = place
        near = inside(box(x - 300, y - 300, x + 300, y + 300))
        assert low < np.nanmedian(speed[near]) < high
    assert np.isfinite(speed[inside(TRUNK.buffer(300))]).mean() >= 0.9
    assert np.isfinite(speed[inside(SEA)]).mean() < 0.01
