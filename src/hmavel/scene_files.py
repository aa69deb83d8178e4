"""Which files of a folder belong to one Landsat scene: bands, metadata, crops of them.

Folders are as users have them: one product each, or the Band-8 files and MTLs of many scenes
side by side, complete or half downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from hmavel.errors import ReadError, SceneError
from hmavel.mtl import Metadata, ProductId, parse_product_id, read_mtl
from hmavel.vsi import shown

MTL_NAME = re.compile(r"(?:.*_)?MTL\.(?:txt|json)", re.IGNORECASE)
#: What follows the id in a band's file name: band, decoration of a crop, suffix.
_BAND_NAME = re.compile(
    r"_(?:SR_)?(B\d{1,2}|QA_PIXEL|QA_RADSAT|BQA)((?:[_-].*)?)\.tiff?", re.IGNORECASE
)


def list_files(folder: Path) -> list[Path]:
    """List the folder's files, without the hidden ones: unfinished writes, resource forks."""
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            if not entry.name.startswith(".") and entry.is_file()
        )
    except OSError as error:
        raise ReadError(
            "read",
            folder,
            expected="a folder that can be listed",
            got=error.strerror or str(error),
            hint="check its permissions",
        ) from error
    return [folder / name for name in names]


def metadata_beside(
    file: Path, product: ProductId | None, files: Iterable[Path]
) -> Metadata | None:
    """Find the MTL of a Band-8 file: by the id in both names, else the one that names it."""
    found = [other for other in files if MTL_NAME.fullmatch(other.name)]
    found.sort(key=lambda other: other.suffix.lower(), reverse=True)  # .txt before .json
    for other in found:
        named = parse_product_id(other.name)
        if product is not None:
            if named is not None and named.agrees(product):
                return own_metadata(read_mtl(other))
        elif named is None or len(found) == 1:
            metadata = read_mtl(other)
            if metadata.files.get("B8", "").lower() == file.name.lower():
                return metadata
    return None


def own_metadata(metadata: Metadata) -> Metadata:
    """Refuse an MTL whose name and content are of two scenes."""
    named = parse_product_id(metadata.path.name)
    if named is not None and not named.agrees(metadata.product):
        raise scene_error(
            metadata.path,
            f"the MTL of {named.id}",
            f"one that describes {metadata.product.id}",
            "fetch the MTL of this scene",
        )
    return metadata


def band_of(file: Path, product: ProductId | None) -> tuple[str, str] | None:
    """Split a band's file name behind the id into (band, decoration)."""
    if product is None:
        return None
    match = _BAND_NAME.fullmatch(file.name.partition(product.id)[2])
    return None if match is None else (match[1].upper(), match[2])


def band_files(
    folder: Path, files: Iterable[Path], product: ProductId, *, b8: Path | None = None
) -> dict[str, Path]:
    """Collect the band files of one product: plain names first, then those like Band 8's.

    Crops carry a decoration (``_B8_yahtse.TIF``). Two decorated files of one band cannot be
    told apart: the user has to say which.
    """
    candidates: dict[str, dict[str, Path]] = {}
    for file in files:
        named = parse_product_id(file.name)
        if named is not None and named.agrees(product) and (parts := band_of(file, named)):
            candidates.setdefault(parts[0], {})[parts[1]] = file
    chosen = {} if b8 is None else {"B8": b8}
    wish = "" if b8 is None else (band_of(b8, parse_product_id(b8.name)) or ("B8", ""))[1]
    for band in sorted(candidates, key=lambda name: (name != "B8", len(name), name)):
        files_of = candidates[band]
        if band in chosen:
            continue
        decoration = next((text for text in (wish, "") if text in files_of), None)
        if decoration is None:
            if len(files_of) > 1 and b8 is not None:
                continue  # crops of other places; this scene is one file
            if len(files_of) > 1:
                names = ", ".join(sorted(file.name for file in files_of.values()))
                raise scene_error(
                    folder, f"one file of {band}", names, "give the Band-8 file instead"
                )
            decoration = next(iter(files_of))
        chosen[band] = files_of[decoration]
        if band == "B8":
            wish = decoration
    return chosen


def without_b8(folder: Path, files: Iterable[Path], metadata: Metadata) -> SceneError:
    """Say why a product has no Band 8: its level, another scene's files, half a download."""
    product = metadata.product
    if metadata.level.startswith("L2"):
        return no_b8(folder, metadata.level)
    for file in files:
        named = parse_product_id(file.name)
        if named is not None and not named.agrees(product):
            return scene_error(
                folder,
                f"files of {product.id}, as its MTL says",
                file.name,
                "fetch the MTL and the bands of one scene",
            )
    name = metadata.files.get("B8", f"{product.id}_B8.TIF")
    return scene_error(folder, f"Band 8, {name}", "no such file", "fetch the complete product")


def no_b8(item: object, level: str) -> SceneError:
    """Make the error of a Level-2 product that stands alone."""
    return scene_error(
        item,
        "Band 8",
        f"a {level} product, which has none",
        "use the L1TP product of this scene; this one can lend it the 30 m bands",
    )


def scene_error(item: object, expected: str, got: str, hint: str) -> SceneError:
    """Make the error of a scene that cannot be used."""
    return SceneError("scene", shown(item), expected=expected, got=got, hint=hint)
