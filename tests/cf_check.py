"""The IOOS compliance checker, in a process of its own: it warns of its own code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_RUN = """
import sys
from compliance_checker.runner import CheckSuite, ComplianceChecker
CheckSuite.load_all_available_checkers()
ComplianceChecker.run_checker(
    sys.argv[1], [sys.argv[3]], verbose=0, criteria="strict", output_filename=sys.argv[2],
    output_format="json",
)
"""


def faults(path: Path, version: str = "1.8") -> list[str]:
    """Return what a NetCDF file has against a version of CF, of any priority."""
    out = path.with_suffix(".json")
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _RUN, str(path), str(out),
         f"cf:{version}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.is_file(), made.stderr
    report = json.loads(out.read_text(encoding="utf-8"))[f"cf:{version}"]
    out.unlink()
    kinds = ("high_priorities", "medium_priorities", "low_priorities")
    # A result that has all of its points may still have something to say.
    found = [item for kind in kinds for item in report[kind]]
    found = [item for item in found if item["value"][0] < item["value"][1]]
    assert len(report["all_priorities"]) > 5  # it did look
    return [message for item in found for message in item["msgs"]]
