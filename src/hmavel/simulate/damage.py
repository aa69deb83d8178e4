"""Products as they come when something went wrong on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def damage(folder: Path, kind: str) -> None:
    """Damage a product folder.

    Parameters
    ----------
    folder
        A complete product.
    kind
        ``"truncated"`` Band 8 ends half way; ``"missing"`` it is not there; ``"fill"`` every
        band is 0; ``"foreign"`` the MTL names another scene; ``"unfinished"`` only the first
        files arrived, and no MTL.
    """
    name = folder.name
    b8 = folder / f"{name}_B8.TIF"
    if kind == "truncated":
        data = b8.read_bytes()
        b8.write_bytes(data[: len(data) // 2])
    elif kind == "missing":
        b8.unlink()
    elif kind == "fill":
        _blank(folder)
    elif kind == "foreign":
        # another row of the same pass, as when a folder was unpacked over another
        other = name.replace("135039", "135040")
        for suffix in ("txt", "json"):
            file = folder / f"{name}_MTL.{suffix}"
            text = file.read_text().replace(name, other)
            text = text.replace("WRS_ROW = 39", "WRS_ROW = 40")
            file.write_text(text.replace('"WRS_ROW": "39"', '"WRS_ROW": "40"'))
    elif kind == "unfinished":
        for file in folder.iterdir():
            if file.stem.removeprefix(f"{name}_") not in ("B2", "B3", "B4"):
                file.unlink()
    else:
        raise ValueError(
            f"simulate damage: expected a known kind, got {kind!r}; see the docstring"
        )


def _blank(folder: Path) -> None:
    import rasterio

    for path in sorted(folder.glob("*.TIF")):
        with rasterio.open(path, "r+") as file:
            value = 1 if path.stem.endswith("QA_PIXEL") else 0
            file.write(np.full(file.shape, value, dtype=np.uint16), 1)
