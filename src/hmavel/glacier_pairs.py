"""The pairs of a glacier: matched on its fixed grid, kept for its months."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from hmavel import __version__, state
from hmavel.config import as_json
from hmavel.inputs import INPUTS
from hmavel.outcome import PAIR_COLUMNS
from hmavel.pair import PairPlan
from hmavel.pair_chain import look_again, measure
from hmavel.pair_stack import KEPT, MORE, STABLE
from hmavel.product.provenance import flat
from hmavel.raster_write import write_geotiff
from hmavel.stack import Stack
from hmavel.verdict import figures, pair_row, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel._types import BoolArray, Scene
    from hmavel.config import Config
    from hmavel.outcome import Clock, Row
    from hmavel.pairing import PairChoice
    from hmavel.site import Site

#: Nodes around the wanted ones that are matched too: as far as the test by neighbours looks.
_AROUND = 2
#: Nodes on bare ground of which some may be lost at the edges of its patches.
_PLENTY = 1000


def open_stack(
    site: Site, config: Config, *, budget_bytes: float, scratch: Path | None = None,
    seen: Path | None = None,
) -> Stack:  # fmt: skip
    """Return the scenes of a site, as the configuration has them cut and masked."""
    return Stack(
        site, config.mask.thresholds(), budget_bytes=budget_bytes, scratch=scratch,
        dem=config.input.dem, shade_buffer_m=config.glaciers.shade_buffer_m,
        domains=config.correlate.domain_windows, seen=seen,
    )


class PairFingerprints:
    """The fingerprints of all that a glacier's pairs depend on: options, files, place.

    A scene's files are looked at once, before its first pair, and so before it is read.
    """

    def __init__(self, site: Site, config: Config) -> None:
        options = (
            config.mask, config.correlate, config.bias, config.uncertainty, config.gates
        )  # fmt: skip
        self._options = [as_json(stage) for stage in options]
        place, outline = state.grid_facts(site.grid), site.outline.wkb_hex
        self._place = [place, outline, int(site.any_ice.sum())]
        # Not the choice of glaciers: it may grow without all pairs being matched again.
        self._ground = (
            config.glaciers.outlines(), config.glaciers.shade_buffer_m, str(config.input.dem)
        )
        self._scenes: dict[str, list[Any]] = {}

    def of(self, choice: PairChoice) -> str:
        """Return the fingerprint of a pair.

        Raises
        ------
        OSError
            A file of a scene is not there.
        """
        return state.fingerprint(
            __version__,
            INPUTS,  # records made before they held their inputs' checksums are not these
            self._options,
            [self._facts(scene) for scene in (choice.reference, choice.secondary)],
            self._place,
            *self._ground,
        )

    def _facts(self, scene: Scene) -> list[Any]:
        if scene.id not in self._scenes:
            self._scenes[scene.id] = state.scene_facts(scene)
        return self._scenes[scene.id]


def _wanted(ice: BoolArray, stable: BoolArray) -> BoolArray:
    """Return the nodes to match: the ice in sight with what vouches for it, and bare ground.

    What is neither (snow, other glaciers, cloud) is most of the nodes, and the dearest: a
    node without a match searches for it in vain. Neighbours two nodes away have a say in
    whether a match is believed; where there is plenty of bare ground, its edges can do
    without.
    """
    if np.count_nonzero(stable) < _PLENTY:
        return np.asarray(ndimage.maximum_filter(ice | stable, 4 * _AROUND + 1))
    return np.asarray(ndimage.maximum_filter(ice, 2 * _AROUND + 1) | stable)


def process_pair(
    choice: PairChoice, *, stack: Stack, fingerprints: PairFingerprints, folder: Path,
    config: Config, clock: Clock,
) -> Row:  # fmt: skip
    """Match one pair on the glacier's fixed grid; keep its velocity for the months.

    Returns
    -------
    dict
        The row of ``pairs.csv``. ``state`` is "used", or "rejected" when the pair is sound but
        shows too little of the glacier or of bare ground; such pairs are remembered too.
    """
    site = stack.site
    record, image = folder / f"{choice.id}.json", folder / f"{choice.id}.tif"
    expected = fingerprints.of(choice)
    before = state.read_record(record)
    there = before.get("state") != "used" or image.is_file()
    if before.get(state.KEY) == expected and there and state.intact(before, folder):
        return {key: before.get(key) for key in (*PAIR_COLUMNS, INPUTS, state.KEY)}
    with clock.stage("read"):
        reference, secondary = stack.get(choice.reference), stack.get(choice.secondary)
    pair = PairPlan(choice.reference, choice.secondary, site.image, "none", "")
    stable = ~site.any_ice & reference.clear & secondary.clear
    hidden = reference.hidden | secondary.hidden
    measured = measure(
        pair, reference.image, secondary.image, stable=stable, hidden=hidden,
        nodes=(site.row, site.col), where=_wanted(site.ice & ~hidden, stable),
        domain=stack.domain, config=config, clock=clock,
    )
    row = pair_row(choice, site.id) | figures(
        measured, site.ice, site.image.pixel, config.gates.limits()
    )
    row["state"], row["reason"] = verdict(measured, row, config)
    if row["state"] == "rejected":
        row["gate"] = "fail"
    row[INPUTS] = {cut.scene.id: cut.sha256 for cut in (reference, secondary)}
    if row["state"] == "used":
        velocity = measured.velocity
        bands = {name: getattr(velocity, name) for name in KEPT}
        bands[STABLE] = measured.stable.astype(np.float32)
        units = dict.fromkeys(KEPT, "m/yr")
        if config.correlate.second_taper:
            with clock.stage("correlate"):
                more = look_again(
                    pair, reference.image, secondary.image, measured.raw, where=site.ice,
                    nodes=(site.row, site.col), domain=stack.domain, config=config,
                )
            bands |= dict(zip(MORE, (more.vx, more.vy), strict=True))
            units |= dict.fromkeys(MORE, "m/yr")
        with clock.stage("write"):
            tags = flat({state.KEY: expected, INPUTS: row[INPUTS]})
            write_geotiff(
                image, bands, site.grid, units=units, tags=tags, cog=False, packing="ZSTD"
            )
    sums = state.sums([image] if row["state"] == "used" else [])
    state.write_record(record, expected, **row, **{state.SUMS: sums})
    return row | {state.KEY: expected, "made": True}
