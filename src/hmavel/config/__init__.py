"""Every option of a run: its default, unit, range and meaning, one model per stage.

A configuration is a TOML file. Unknown keys are refused at every level, relative paths
are relative to the file, and the resolved form that is saved beside a run's output can be
given to ``hmavel run`` again.
"""

from hmavel.config.archive import Glaciers, Input, Scenes
from hmavel.config.products import ItsLive, Months, Output, Run
from hmavel.config.selection import Mask, Pairs, Screening
from hmavel.config.toml import as_json, product_options, template, to_toml
from hmavel.config.velocity import Bias, Correlate, Gates, Uncertainty
from hmavel.config.whole import Config, from_dict, load

__all__ = [
    "Bias",
    "Config",
    "Correlate",
    "Gates",
    "Glaciers",
    "Input",
    "ItsLive",
    "Mask",
    "Months",
    "Output",
    "Pairs",
    "Run",
    "Scenes",
    "Screening",
    "Uncertainty",
    "as_json",
    "from_dict",
    "load",
    "product_options",
    "template",
    "to_toml",
]
