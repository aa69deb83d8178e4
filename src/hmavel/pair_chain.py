"""The chain of one pair: correlate, correct, scale the errors, divide by time."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel._types import Displacement, Quality, Velocity
from hmavel.bias import Bias, fit_bias
from hmavel.correlator import correlate
from hmavel.errors import StableGroundError
from hmavel.sigma_scale import scale_sigma
from hmavel.track import track_angle
from hmavel.velocity import to_velocity

if TYPE_CHECKING:
    from hmavel._types import BoolArray, FloatArray
    from hmavel.config import Config
    from hmavel.correlator import Settings
    from hmavel.outcome import Clock
    from hmavel.velocity import Baseline

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """One pair, all stages of the chain."""

    raw: Displacement  #: as the correlator gave it
    bias: Bias
    corrected: Displacement  #: without the bias, sigma scaled to the bare ground's scatter
    velocity: Velocity
    stable: BoolArray
    scaled: bool  #: False: too little bare ground to scale the sigmas


def measure(
    pair: Baseline,
    reference: FloatArray,
    secondary: FloatArray,
    *,
    stable: BoolArray,
    config: Config,
    clock: Clock,
    hidden: BoolArray | None = None,
    domain: Any = None,
    nodes: tuple[FloatArray, FloatArray] | None = None,
    where: BoolArray | None = None,
    threads: int = 1,
) -> Measured:
    """Correlate, correct, scale the errors, divide by time: the chain of one pair.

    Parameters
    ----------
    pair
        Grid, ids and times.
    reference, secondary
        Band 8 on that grid, NaN = not to be matched.
    stable
        The nodes on bare ground.
    hidden
        The nodes under cloud, shadow or water; they get no displacement.
    domain, nodes, where, threads
        As for ``correlate``.
    """
    settings = config.correlate.settings()
    if config.correlate.second_taper:
        settings = _everywhere(settings, config.correlate.last_taper)
    with clock.stage("correlate"):
        found = correlate(
            reference, secondary, **config.correlate.windows(), nodes=nodes, domain=domain,
            where=where, threads=threads, settings=settings,
        )
    return correct(pair, found, stable=stable, config=config, clock=clock, hidden=hidden)


def correct(
    pair: Baseline,
    found: Displacement,
    *,
    stable: BoolArray,
    config: Config,
    clock: Clock,
    hidden: BoolArray | None = None,
) -> Measured:
    """Do what comes after the correlation; arguments as for `measure`."""
    if hidden is not None:
        found = found.rejected(hidden, Quality.MASKED)
    with clock.stage("bias"):
        options = config.bias.model_dump()
        if options["column_angle"] is None and config.bias.model != "none":
            options["column_angle"] = track_angle(pair.grid)
        bias = fit_bias(found, stable, **options)
        corrected, scaled = _honest_sigma(bias, stable)
        velocity = to_velocity(corrected, pair)
    return Measured(found, bias, corrected, velocity, stable, scaled)


def look_again(
    pair: Baseline,
    reference: FloatArray,
    secondary: FloatArray,
    found: Displacement,
    *,
    where: BoolArray,
    nodes: tuple[FloatArray, FloatArray],
    config: Config,
    domain: Any = None,
) -> Velocity:
    """Measure what was found once more with the narrower taper; return by how much it differs.

    The arguments are those of ``measure``, ``found`` is what it found, ``where`` the nodes to
    look at. NaN elsewhere, and where the narrow window sees nothing.
    """
    settings = _everywhere(config.correlate.settings(), config.correlate.second_taper)
    drow, dcol = (np.where(where & found.good, d, np.nan) for d in (found.drow, found.dcol))
    again = correlate(
        reference, secondary, **config.correlate.windows(), nodes=nodes, start=(drow, dcol),
        domain=domain, settings=settings,
    )
    more = replace(again, drow=again.drow - found.drow, dcol=again.dcol - found.dcol)
    return to_velocity(more, pair)


def _everywhere(settings: Settings, taper: float) -> Settings:
    """Return the settings with one last taper, in strong noise too.

    Months are brought from windows' means to points by how the results of two tapers differ,
    which only tells where it is known which tapers they were.
    """
    return replace(settings, last_taper=taper, noisy_taper=taper)


def _honest_sigma(bias: Bias, stable: BoolArray) -> tuple[Displacement, bool]:
    """Scale the sigmas to the bare ground's scatter, and add the correction's own error.

    With too little bare ground the predicted sigmas stay, and the second value is False.
    """
    try:
        scaled = scale_sigma(bias.corrected, stable)
    except StableGroundError as error:
        logger.debug("%s", error)
        return bias.corrected, False
    return replace(
        scaled,
        sigma_row=np.hypot(scaled.sigma_row, np.float32(bias.sigma_row)),
        sigma_col=np.hypot(scaled.sigma_col, np.float32(bias.sigma_col)),
    ), True
