"""From two images to a velocity: [correlate], [bias], [uncertainty], [gates]."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from hmavel.config.option import Even, Stage, option
from hmavel.correlator_settings import seen_around

if TYPE_CHECKING:
    from hmavel.correlator import Settings
    from hmavel.gates import Limits


class Correlate(Stage):
    """The matching of a pair's Band 8 (docs/method.md, "Correlator")."""

    window: Even = option(32, "Side of the fine window.", "px (15 m)", ge=8, le=256)
    coarse: Even = option(
        64, "Side of the coarse window; 0 = no coarse search.", "px (15 m)", ge=0, le=256
    )
    step: int = option(
        8, "Spacing of the nodes and so of the products: 8 px are 120 m.", "px (15 m)",
        ge=1, le=64,
    )
    reach: int | None = option(
        None, "Search limit per axis; not set = half the coarse window.", "px (15 m)",
        example=32, ge=0, le=4096,
    )
    weight: Literal["white", "half", "cross", "noise"] = option(
        "half", "Weights of the frequencies: the cross-spectrum's amplitude to the 0, 1/2, 1; "
        "noise = those of maximum likelihood under the noise that the pair shows."
    )
    drowned: bool = option(
        True, "With half: less weight to frequencies that noise or the sun has spoilt."
    )
    interpolate: bool = option(
        False, "Interpolate windows to where their fit stands: with noise, a fifth less error "
        "on clean texture, at 0.4 of the speed."
    )
    robust: int = option(1, "Rounds of robust reweighting.", ge=0, le=10)
    last_taper: float = option(
        0.25, "Share of the window that tapers off at each end in the last passes.",
        gt=0, le=0.5,
    )
    second_taper: float = option(
        0.5, "The same in a second, narrower look at the ice, by which the months are brought "
        "from the window's mean to the point's value; 0 = none.", ge=0, le=0.5,
    )
    min_valid: float = option(0.6, "Least valid share of a fine window.", gt=0, le=1)
    min_evidence: float = option(5.5, "A match is accepted above this evidence.", ge=0)
    known_evidence: float = option(
        4.0, "... or this, where neighbours or the coarse window vouch for the place.", ge=0
    )
    max_second: float = option(
        0.85, "... unless a rival peak reaches this share of its height.", gt=0, le=1
    )
    max_shared: float = option(
        0.4,
        "... or unless its window shows a neighbour's motion with this share of its evidence.",
        gt=0, le=1,
    )
    min_share: float = option(
        0.6,
        "... or, where a neighbour moves otherwise, fits worse than this share of the nodes "
        "around it.",
        ge=0, lt=1,
    )
    max_median: float = option(
        4.0, "Neighbour test: normalised residual above which a match is an outlier.", gt=0
    )
    max_step: float = option(
        2.0, "Neighbours that differ by more do not hang together in a clump.", "px (15 m)",
        ge=0,
    )
    min_clump: float = option(
        1.25, "Clumps of good nodes that cover less are dropped.", "fine windows", ge=0
    )
    domain_windows: bool = option(
        False, "Let windows at a margin see only the ice, or only the ground, of their centre."
    )
    min_matched: float = option(
        0.05, "Least share of the ice that a pair must match to be used.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _nested(self) -> Correlate:
        if 0 < self.coarse < self.window:
            got = {"got": f"{self.coarse} < {self.window}"}
            raise PydanticCustomError("order", "coarse >= window, or coarse = 0", got)
        if 0 < self.second_taper <= self.last_taper:
            got = {"got": f"{self.second_taper:g} <= {self.last_taper:g}"}
            raise PydanticCustomError("order", "second_taper > last_taper, or 0", got)
        return self

    @property
    def search(self) -> int:
        """Pixels per axis by which a match may have moved."""
        return max(self.coarse // 2, 2) if self.reach is None else self.reach

    @property
    def margin(self) -> int:
        """Pixels around a node that the correlator may look at."""
        return seen_around(self.window, self.coarse, self.search, interpolate=self.interpolate)

    def windows(self) -> dict[str, Any]:
        """Return the arguments of ``correlate`` that set windows and reach."""
        names = ("window", "coarse", "step", "reach")
        return {name: getattr(self, name) for name in names}

    def settings(self) -> Settings:
        """Return the further options of ``correlate``."""
        from hmavel.correlator import Settings

        names = {field.name for field in fields(Settings)} & set(type(self).model_fields)
        return Settings(**{name: getattr(self, name) for name in names})


class Bias(Stage):
    """The matching error, read off bare ground (docs/method.md, "Bias")."""

    model: Literal["auto", "constant", "plane", "quadratic", "stripes", "none"] = option(
        "auto", "Shape of the error over the scene."
    )
    column_angle: float | None = option(
        None, "Direction of the scenes' own columns, clockwise from the image's; not set = "
        "Landsat's track at this latitude.", "degrees", example=12.8, ge=-90, le=90,
    )
    min_count: int = option(100, "Matched cells of bare ground below which nothing is fitted.",
                             ge=3)
    min_spread: float = option(
        40.0, "... and their rms distance from their middle.", "px (15 m)", ge=0,
    )
    reach: float = option(
        333.0, "Distance from the bare ground up to which a shape is continued.", "px (15 m)",
        ge=0,
    )
    module: float = option(
        880.0, "Width of one of the sensor's detector modules, at whose seams it steps.",
        "px (15 m)", gt=0,
    )


class Uncertainty(Stage):
    """The static-terrain figures of a pair (docs/method.md, "Uncertainty")."""

    method: Literal["robust", "glaft"] = option(
        "robust", "Estimator; \"glaft\" gives GLAFT 1.0.0's numbers."
    )
    thres_sigma: float = option(2.0, "Confidence level of the half-widths.", "sigma", gt=0)
    gridsize: int = option(60, "Cells of the density mesh along a side.", ge=10, le=1000)


class Gates(Stage):
    """When a pair is doubtful, and when it is not used: [warn, fail] for each figure."""

    static_count: tuple[float, float] = option(
        (300.0, 0.0), "Matched cells of bare ground, at least."
    )
    static_spread_m: tuple[float, float] = option(
        (1500.0, 0.0), "Root mean square distance of bare ground from its middle, at least.",
        "m",
    )
    bias_m: tuple[float, float] = option(
        (30.0, 300.0), "Matching error before its removal, at most.", "m"
    )
    delta_m: tuple[float, float] = option(
        (9.0, 60.0), "Half-width at 2 sigma of the scatter over bare ground, at most.", "m"
    )
    outliers: tuple[float, float] = option(
        (0.2, 0.7), "Share of bare ground outside the core of that scatter, at most."
    )
    ground_matched: tuple[float, float] = option(
        (0.5, 0.0), "Share of bare ground that is matched, at least."
    )
    ice_matched: tuple[float, float] = option(
        (0.3, 0.0), "Share of the ice that is matched, at least."
    )
    closure: tuple[float, float] = option(
        (1.5, 4.0), "Spread of triplets over the predicted one, on bare ground, at most."
    )

    @model_validator(mode="after")
    def _worse_fails(self) -> Gates:
        from hmavel.gates import AT_LEAST

        for name in type(self).model_fields:
            warn, fail = getattr(self, name)
            if (fail > warn) if name in AT_LEAST else (fail < warn):
                order = "warn >= fail" if name in AT_LEAST else "warn <= fail"
                got = {"got": f"[{warn:g}, {fail:g}]"}
                raise PydanticCustomError("order", f"{name} = [warn, fail], {order}", got)
        return self

    def limits(self) -> Limits:
        """Return them as ``judge`` takes them."""
        from hmavel.gates import Limits

        return Limits(**dict(self))
