"""What a displacement or a velocity is worth: the names of this subject in one place.

- ``terrain``: the scatter over ground that does not move (bias, half-width, outliers);
- ``sigma_scale``: the nodes' predicted errors, scaled to what that ground shows;
- ``flow_metric``: the scatter of strain rates over ice, where nothing stands still.
"""

from __future__ import annotations

from hmavel.flow_metric import FlowMetric, StrainRate, flow_metric, strain_rate
from hmavel.sigma_scale import SigmaScale, fit_sigma_scale, scale_sigma
from hmavel.terrain import StaticTerrain, static_terrain

__all__ = [
    "FlowMetric",
    "SigmaScale",
    "StaticTerrain",
    "StrainRate",
    "fit_sigma_scale",
    "flow_metric",
    "scale_sigma",
    "static_terrain",
    "strain_rate",
]
