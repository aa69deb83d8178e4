"""The correlator against its peers, the bare transforms and the bound, in one run.

``python bench/bench_correlate.py [--quick]`` measures, prints the tables as markdown and writes
them with the numbers to ``bench/results`` (``--out``) and the figures to ``docs/gallery``.
See bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECTIONS = (
    "speed", "accuracy", "glacier", "domains", "resolution", "acceptance", "textures",
    "sigma", "holes", "weights",
)
TITLES = {
    "speed": "Speed",
    "accuracy": "Plain shifts",
    "glacier": "Shear margins (6 px plug flow, 8 px margins, 5 % noise)",
    "domains": "Domain-aware windows: bias in % of the ice's 3 px (reported); ground left",
    "resolution": "Detail: measured / true amplitude of a sinusoidal displacement of 0.5 px",
    "acceptance": "Acceptance: share of nodes accepted",
    "textures": "Acceptance of unrelated images that are not Gaussian",
    "sigma": "Calibration of sigma",
    "holes": "Masked pixels: a shift of (2.3, -1.6) px at 5 % noise",
    "weights": "Frequency weights, taper of the last pass, robust rounds",
}
FOOTNOTE = (
    "¹ Not measured here: figures published for one other machine (2 cores, Zen 5 at 3.5 GHz) "
    "on the same recipe of textures and noise.\n"
)


def _rounded(x: Any) -> Any:
    """Four significant figures: the JSON is to be read and committed."""
    if isinstance(x, dict):
        return {k: _rounded(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [_rounded(v) for v in x]
    if isinstance(x, int | str | bool) or x is None:
        return x
    x = float(x)
    return float(f"{x:.4g}") if x == x else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shifts, seeds and repeats")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="measure these sections"
    )
    parser.add_argument("--no-peers", action="store_true", help="hmavel alone")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="tables, numbers")
    parser.add_argument(
        "--figures", type=Path, help="folder of the figures (default: beside the tables)"
    )
    return parser.parse_args()


def main() -> int:
    args = _arguments()
    # Before NumPy is imported: its BLAS reads these once.
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    sys.path.insert(0, str(HERE))
    import peers
    from correlator_cases import (
        accuracy,
        figures,
        honesty,
        margins,
        speed,
        tables,
        weights,
    )
    from correlator_cases.common import Scale, machine, pin

    pin()
    scale = Scale.of(args.quick)
    engines, missing = ([], []) if args.no_peers else peers.installed()
    work = {
        "speed": speed.measure,
        "accuracy": accuracy.measure,
        "glacier": margins.glacier,
        "domains": margins.domains,
        "resolution": margins.resolution,
        "acceptance": honesty.acceptance,
        "textures": honesty.textures,
        "sigma": honesty.sigma,
        "holes": honesty.holes,
        "weights": weights.measure,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    numbers = args.out / "correlate.json"
    previous = json.loads(numbers.read_text()) if numbers.exists() else {}
    result: dict[str, Any] = {} if set(args.only) == set(SECTIONS) else previous
    result["machine"] = machine()
    result["peers"] = {e.name: f"{e.package} {e.version}: {e.settings}" for e in engines}
    result["missing"] = missing
    for name in args.only:
        start = time.process_time()
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        result[name] = _rounded(work[name](scale, engines))
        print(f"  {time.process_time() - start:.0f} CPU-s", file=sys.stderr, flush=True)
    numbers.write_text(json.dumps(result, indent=None, separators=(",", ":")) + "\n")

    text = f"Machine: {result['machine']['cpu']}; {result['machine']['system']}, Python "
    text += f"{result['machine']['python']}; "
    text += f"load {result['machine']['load_1min']} at the start.\n\n"
    text += "".join(f"- {name}: {what}\n" for name, what in result["peers"].items())
    text += "".join(f"- {name}: not installed, not measured\n" for name in missing)
    for name in SECTIONS:
        if name in result:
            text += f"\n## {TITLES[name]}\n\n{getattr(tables, name)(result[name])}"
    text += "\n" + FOOTNOTE
    (args.out / "correlate.md").write_text(text)
    print(text)

    folder = args.figures or args.out
    folder.mkdir(parents=True, exist_ok=True)
    if "acceptance" in result:
        figures.acceptance(result["acceptance"], folder)
    if "resolution" in result:
        figures.resolution(result["resolution"], folder)
    if "accuracy" in result:
        figures.fractions(result["accuracy"]["fractions"], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
