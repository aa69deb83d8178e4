from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

def standardise(
    image: NDArray[Any],
    valid: NDArray[np.uint8] | None,
    mean: float,
    spread: float,
    saturated: float,
    out: NDArray[np.float32],
    out_row: int,
    out_col: int,
    instruction_set: str | None = None,
) -> bool: ...
def fill_isolated(image: NDArray[np.float32]) -> int: ...
def middle(x: NDArray[np.float64], scratch: NDArray[np.float64]) -> tuple[float, float]: ...
def core(
    p: NDArray[np.float64],
    scratch: NDArray[np.float64],
    disc: float,
    ring_low: float,
    ring_high: float,
    deviation: float,
    within: float,
    moment: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> tuple[float, float, float, float, float]: ...
def robust_fit(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    cutoff: float,
    pull: float,
    resting: float,
    rounds: int,
    residual: NDArray[np.float64],
    beta: NDArray[np.float64],
    weight: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> bool: ...
def variogram(field: NDArray[np.float64], least: int, out: NDArray[np.float64]) -> None: ...
def base(
    gram: NDArray[np.float64],
    moment: NDArray[np.float64],
    column: NDArray[np.intp],
    prior: NDArray[np.float64],
    kappa: NDArray[np.float64],
    inverse: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> float: ...
def information(
    x: NDArray[np.float64],
    mass: NDArray[np.float64],
    stiff: NDArray[np.float64],
    kappa: NDArray[np.float64],
    at: NDArray[np.intp],
    out: NDArray[np.float64],
) -> None: ...
def steps(
    x: NDArray[np.float64],
    mass: NDArray[np.float64],
    stiff: NDArray[np.float64],
    kappa: NDArray[np.float64],
    pull: NDArray[np.float64],
    at: NDArray[np.intp],
    precision: NDArray[np.float64],
    least: float,
    scratch: NDArray[np.float64],
    log: NDArray[np.float64],
) -> None: ...
def step_sizes(
    x: NDArray[np.float64],
    mass: NDArray[np.float64],
    stiff: NDArray[np.float64],
    kappa: NDArray[np.float64],
    pull: NDArray[np.float64],
    at: NDArray[np.intp],
    root: NDArray[np.float64],
    share: NDArray[np.float64],
    scratch: NDArray[np.float64],
    jumps: NDArray[np.float64],
) -> None: ...
def pairs(
    info: NDArray[np.float64],
    pull: NDArray[np.float64],
    own: float,
    log: NDArray[np.float64],
) -> None: ...
def pair_sizes(
    info: NDArray[np.float64],
    pull: NDArray[np.float64],
    own: float,
    share: NDArray[np.float64],
    size: NDArray[np.float64],
) -> None: ...
def beyond(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    bins: NDArray[np.intp],
    out: NDArray[np.float64],
) -> None: ...
def taps() -> int: ...
def status_count() -> int: ...
def quality_count() -> int: ...
def fftw_linked() -> bool: ...
def fftw_ready() -> bool: ...
def bind_fftw(plan_guru_split_dft: int, execute_split_dft: int) -> int: ...
def instruction_sets() -> dict[str, int]: ...
def correlate(
    reference: NDArray[np.float32],
    secondary: NDArray[np.float32],
    row: NDArray[np.int32],
    col: NDArray[np.int32],
    guess_row: NDArray[np.float32],
    guess_col: NDArray[np.float32],
    options: dict[str, Any],
    out: NDArray[np.float32],
    quality: NDArray[np.uint8],
    first: int,
    last: int,
    instruction_set: str | None = None,
    gain: NDArray[np.float32] | None = None,
) -> int: ...
def coherence(
    reference: NDArray[np.float32],
    secondary: NDArray[np.float32],
    row: NDArray[np.int32],
    col: NDArray[np.int32],
    guess_row: NDArray[np.float32],
    guess_col: NDArray[np.float32],
    options: dict[str, Any],
    out: NDArray[np.float32],
    instruction_set: str | None = None,
    gain: NDArray[np.float32] | None = None,
) -> int: ...
def median_test(
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    sigma_u: NDArray[np.float32],
    sigma_v: NDArray[np.float32],
    least: int,
    floor: float,
    limit: float,
    outlier: NDArray[np.uint8],
    first: int,
    last: int,
) -> int: ...
def neighbour_median(
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    wanted: NDArray[np.uint8],
    least: int,
    spread: float,
    mid_u: NDArray[np.float32],
    mid_v: NDArray[np.float32],
    first: int,
    last: int,
) -> int: ...
def bend(
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    limit: float,
    far_u: NDArray[np.float32],
    far_v: NDArray[np.float32],
    first: int,
    last: int,
) -> int: ...
def clump_sizes(
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    limit: float,
    parent: NDArray[np.int32],
    size: NDArray[np.int32],
) -> int: ...
def add_strain(
    x: NDArray[np.float32], reach: float, sigma: NDArray[np.float32], first: int, last: int
) -> None: ...
def bind_lapack(blas: Mapping[str, Any], lapack: Mapping[str, Any]) -> None: ...
def evidence_work(n: int, cells: int) -> int: ...
def evidence(
    normal: NDArray[np.float64],
    log_det: NDArray[np.float64],
    count: NDArray[np.float64],
    first: int,
    numbers: tuple[float, ...],
    season_pace: NDArray[np.floating[Any]] | None,
    event_pace: NDArray[np.floating[Any]] | None,
    work: NDArray[np.float64],
    misfit: NDArray[np.float64],
    slopes: NDArray[np.float64] | None = None,
) -> int: ...
def add_products(
    rows: NDArray[np.floating[Any]],
    amplitude: NDArray[np.floating[Any]],
    early: NDArray[np.intp],
    late: NDArray[np.intp],
    normal: NDArray[np.floating[Any]],
) -> None: ...
