"""Print the oldest versions that pyproject.toml allows, as constraints for pip.

python .ci/oldest.py [EXTRA ...] > constraints.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
wanted = list(project["dependencies"])
for extra in sys.argv[1:]:
    wanted += project["optional-dependencies"][extra]
oldest: dict[str, str] = {}
for requirement in wanted:
    match = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement)
    if match is None:
        raise SystemExit(f"expected NAME>=VERSION and nothing else, got {requirement}")
    oldest[match[1].lower()] = match[2]
for name, version in sorted(oldest.items()):
    # "1.26" is the first of that series, and any later patch of it where pip needs one
    print(f"{name}=={version}" if version.count(".") > 1 else f"{name}=={version}.*")
