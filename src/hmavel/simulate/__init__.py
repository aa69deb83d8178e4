"""Images and archives with a known flow: what the rest of the program is tested against.

``shifted_pair`` and ``glacier_pair`` make two arrays; ``archive`` writes a whole Landsat
archive to disk, with an inventory and a DEM beside it, and returns the truth.
"""

from __future__ import annotations

from hmavel.simulate.pairs import glacier_pair, shifted_pair

__all__ = ["glacier_pair", "shifted_pair"]
