"""Glacier surface velocity from Landsat-8/9, month by month.

The chain, each arrow one module with one main function::

    scene -> pair -> displacement -> corrected -> velocity -> month

Public names are imported when first used, so that ``import hmavel`` and the command line
start in milliseconds. No module may be named like a public function: importing it would
put the module in the function's place.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hmavel import simulate
    from hmavel._types import (
        Displacement,
        Grid,
        Pair,
        Quality,
        Scene,
        SceneMask,
        Velocity,
    )
    from hmavel.bias import fit_bias
    from hmavel.closure import close_triplets
    from hmavel.correlator import correlate, correlate_pair
    from hmavel.derived import annual_means, anomalies, season_and_trend
    from hmavel.itslive import read_cube, read_granules
    from hmavel.map_quality import assess_files, assess_map
    from hmavel.month import compose_months
    from hmavel.shared_error import separate_errors
    from hmavel.uncertainty import static_terrain

#: public name -> the module that defines it ("" = the name is itself a module)
_HOMES = {
    "Displacement": "_types",
    "Grid": "_types",
    "Pair": "_types",
    "Quality": "_types",
    "Scene": "_types",
    "SceneMask": "_types",
    "Velocity": "_types",
    "annual_means": "derived",
    "anomalies": "derived",
    "assess_files": "map_quality",
    "assess_map": "map_quality",
    "close_triplets": "closure",
    "compose_months": "month",
    "correlate": "correlator",
    "correlate_pair": "correlator",
    "fit_bias": "bias",
    "read_cube": "itslive",
    "read_granules": "itslive",
    "season_and_trend": "derived",
    "separate_errors": "shared_error",
    "simulate": "",
    "static_terrain": "uncertainty",
}

__all__ = [
    "Displacement",
    "Grid",
    "Pair",
    "Quality",
    "Scene",
    "SceneMask",
    "Velocity",
    "__version__",
    "annual_means",
    "anomalies",
    "assess_files",
    "assess_map",
    "close_triplets",
    "compose_months",
    "correlate",
    "correlate_pair",
    "fit_bias",
    "read_cube",
    "read_granules",
    "season_and_trend",
    "separate_errors",
    "simulate",
    "static_terrain",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Kept: every product names it, and looking it up takes longer than to write one.
        from importlib.metadata import version  # slow to load

        globals()[name] = version("hmavel")
        return globals()[name]
    if name not in _HOMES:
        raise AttributeError(f"module 'hmavel' has no attribute {name!r}")
    home = _HOMES[name]
    module = importlib.import_module(f"hmavel.{home or name}")
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
