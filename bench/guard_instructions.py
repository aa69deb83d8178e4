"""Has the correlator become heavier? Instructions of a fixed job against a recorded number.

``python bench/guard_instructions.py`` runs the job under ``valgrind --tool=callgrind``, once
only a corner of it and once that and all of it, so that loading what is needed does not count,
for each instruction set that valgrind knows (it has no AVX-512). It compares the differences
with ``results/instructions.json`` and ends with 1 when one has grown by more than 5 %.
``--record`` writes the numbers instead.

Instructions, unlike seconds, hardly depend on what else the machine does. They do depend on the
compiler: record anew where it changes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hmavel.simulate import shifted_pair

RECORD = Path(__file__).resolve().parent / "results" / "instructions.json"
TOLERANCE = 0.05
JOB = """
import sys
import numpy as np
import hmavel
from hmavel.correlator import Settings

a, b = np.load(sys.argv[1])
settings = Settings(instruction_set=sys.argv[2])
hmavel.correlate(a[:96, :96], b[:96, :96], settings=settings)  # loads all that is needed
if sys.argv[3] == "whole":
    d = hmavel.correlate(a, b, settings=settings)
    assert d.good.mean() > 0.8
"""


def instructions(isa: str, pair: Path, what: str) -> int:
    """Count the instructions of a Python that starts and correlates a corner, or then all."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={pair.parent}/out"]
    command += [sys.executable, "-c", JOB, str(pair), isa, what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"guard {isa}: the job failed under valgrind:\n{done.stderr[-2000:]}")
    return int(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the numbers")
    parser.add_argument("--isa", nargs="+", default=["sse2", "avx2"], help="instruction sets")
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        raise SystemExit("guard: expected valgrind on the PATH, got none; install it")
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pair.npy"
        p = shifted_pair(2.3, -1.6, 1, (256, 256), noise=0.1)
        np.save(file, np.stack([p.reference, p.secondary]))
        counts = {
            isa: instructions(isa, file, "whole") - instructions(isa, file, "corner")
            for isa in args.isa
        }
    failed = False
    for isa, now in counts.items():
        if args.record:
            known[isa] = now
            print(f"{isa}: recorded {now:,} instructions")
            continue
        if isa not in known:
            print(f"{isa}: {now:,} instructions, nothing recorded; run with --record")
            failed = True
            continue
        change = now / known[isa] - 1
        verdict = "too many" if change > TOLERANCE else "ok"
        print(f"{isa}: {now:,} instructions, {known[isa]:,} recorded, {change:+.1%}: {verdict}")
        failed |= change > TOLERANCE
    if args.record:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps(known, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
