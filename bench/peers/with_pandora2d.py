"""Pandora2D (CNES): a ZNCC cost volume over whole and half pixels, refined by dichotomy."""

from __future__ import annotations

import logging

import numpy as np
import pandora2d
import xarray as xr
from pandora2d.img_tools import add_disparity_grid
from pandora2d.state_machine import Pandora2DMachine

from peers import Engine, Field

NEAR, STEP = 4, 8


def _configuration(guess: tuple[int, int], near: int) -> dict:
    return {
        "input": {
            "row_disparity": {"init": guess[0], "range": near},
            "col_disparity": {"init": guess[1], "range": near},
        },
        "pipeline": {
            "matching_cost": {
                "matching_cost_method": "zncc",
                "window_size": 31,
                "step": [STEP, STEP],
                "subpix": 2,
                "spline_order": 3,
            },
            "disparity": {"disparity_method": "wta", "invalid_disparity": "NaN"},
            "refinement": {
                "refinement_method": "dichotomy",
                "iterations": 6,
                "filter": {"method": "bicubic"},
            },
        },
    }


def _dataset(image: np.ndarray, cfg: dict, right: bool) -> xr.Dataset:
    rows, cols = image.shape
    data = xr.Dataset(
        {"im": (["row", "col"], image.astype(np.float32))},
        coords={"row": np.arange(rows), "col": np.arange(cols)},
        attrs={
            "no_data_img": np.nan,
            "valid_pixels": 0,
            "no_data_mask": 1,
            "crs": None,
            "transform": None,
        },
    )
    d = cfg["input"]
    return add_disparity_grid(data, d["col_disparity"], d["row_disparity"], None, right)


def run(
    reference: np.ndarray, secondary: np.ndarray, guess: tuple[int, int], reach: int
) -> Field:
    logging.getLogger().setLevel(logging.WARNING)
    near = max(NEAR, reach)
    cfg = _configuration(guess, near)
    left, right = (
        _dataset(x, cfg, side) for x, side in ((reference, False), (secondary, True))
    )
    machine = Pandora2DMachine()
    machine.check_conf(cfg)
    maps, _ = pandora2d.run(machine, left, right, cfg)
    d = [np.array(maps[k], dtype=float) for k in ("row_map", "col_map")]
    bad = ~np.isfinite(d[0] + d[1])
    for x in d:
        x[bad] = np.nan
    return Field(np.asarray(maps.row, float), np.asarray(maps.col, float), *d)


ENGINES = [
    Engine(
        "Pandora2D",
        "pandora2d",
        "ZNCC 31 px (its windows are odd), step 8, subpix 2 by cubic spline, dichotomy of 6 "
        "iterations with its bicubic filter, ±4 px around the whole-pixel truth",
        run,
    )
]
