"""Images and archives with a known flow: what the rest of the program is tested against.

``shifted_pair`` and ``glacier_pair`` make two arrays; ``archive`` writes a whole Landsat
archive to disk, with an inventory and a DEM beside it, and returns the truth; ``load`` reads
the truth of an archive that is there.
"""

from __future__ import annotations

from hmavel.simulate.build import archive, load
from hmavel.simulate.pairs import glacier_pair, shifted_pair
from hmavel.simulate.truth import Archive, TrueScene

__all__ = ["Archive", "TrueScene", "archive", "glacier_pair", "load", "shifted_pair"]
