"""The files that come out: pairs, a glacier's months, the region's mosaics."""

from hmavel.product.cube import write_cube
from hmavel.product.derived_field import DerivedField, combine_derived
from hmavel.product.derived_files import write_derived
from hmavel.product.field import (
    BAND_UNITS,
    FLAG_MEANINGS,
    MonthlyField,
    MonthSource,
    combine,
    speed,
)
from hmavel.product.month_files import MonthFiles, month_name, open_months, write_months
from hmavel.product.pair_files import write_pair
from hmavel.product.provenance import plain
from hmavel.product.region import HMA, Region, region_grid, write_region

__all__ = [
    "BAND_UNITS",
    "FLAG_MEANINGS",
    "HMA",
    "DerivedField",
    "MonthFiles",
    "MonthSource",
    "MonthlyField",
    "Region",
    "combine",
    "combine_derived",
    "month_name",
    "open_months",
    "plain",
    "region_grid",
    "speed",
    "write_cube",
    "write_derived",
    "write_months",
    "write_pair",
    "write_region",
]
