"""The files that come out: pairs, a glacier's months, the region's mosaics."""
