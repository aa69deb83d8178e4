"""Whether the files of a run are what was written, and come out the same once more."""

from __future__ import annotations

import logging
import random
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmavel import config as configuration
from hmavel import parallel, planning, state
from hmavel.atomic import checksum
from hmavel.errors import ReadError, RunError
from hmavel.glacier_pairs import open_stack, process_pair
from hmavel.outcome import Clock
from hmavel.parallel import Failure

if TYPE_CHECKING:
    from hmavel.config import Config
    from hmavel.outcome import GlacierPlan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """What came of it."""

    files: int  #: compared with their checksums
    remade: int  #: pairs computed once more
    failures: list[Failure]


def verify_run(folder: Path, *, sample: int = 3, seed: int = 0, mend: bool = False) -> Verified:
    """Compare every product with its checksum, and some pairs with themselves made again.

    Parameters
    ----------
    folder
        Output folder of a run.
    sample
        Pairs to compute once more, chosen at random; they take the scenes and the inventory of
        the run's configuration.
    seed
        Of the choice.
    mend
        Remove the records of what is damaged, so that the next run makes it again.

    Returns
    -------
    Verified

    Raises
    ------
    RunError
        The folder is not that of a run.
    """
    folder = Path(folder)
    if not (folder / "config.toml").is_file():
        raise RunError(
            "verify", folder, expected="the output folder of a run", got="no config.toml there",
            hint="give output.folder of the configuration",
        )
    files, failures = 0, []
    used: list[tuple[str, str]] = []
    for path in _records(folder):
        record = state.read_record(path)
        files += len(record.get(state.SUMS, {}))
        wrong = state.damaged(record, path.parent)
        for file, expected, got in wrong:
            hint = "run hmavel verify --mend, then the run again"
            error = ReadError("verify", file, expected=expected, got=got, hint=hint)
            failures.append(Failure.of(f"file {file}", error))
        if wrong and mend:
            path.unlink()
        if path.parent.name == "pairs" and record.get("state") == "used" and not wrong:
            used.append((path.parent.parent.name, path.stem))
    chosen = random.Random(seed).sample(used, min(max(sample, 0), len(used)))
    if chosen:
        given = configuration.load(folder / "config.toml")
        here = given.output.model_copy(update={"folder": folder.absolute()})
        given = given.model_copy(update={"output": here})
        plans = planning.recall(given)
        for glacier, pair in chosen:
            name = f"pair {pair} of {glacier}"
            result = parallel.attempt(partial(_again, plans, glacier, pair, given), name)
            failures += [result] if isinstance(result, Failure) else []
    return Verified(files, len(chosen), failures)


def _records(folder: Path) -> list[Path]:
    """Return the records that have checksums: of pairs, months and mosaics."""
    patterns = ("*/pairs/*.json", "*/months.json", "*/mosaic.json")
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _again(plans: dict[str, GlacierPlan], glacier: str, pair: str, config: Config) -> None:
    """Compute a pair once more, elsewhere, and compare its file to the byte."""
    choices: dict[str, Any] = {}
    if glacier in plans:
        choices = {choice.id: choice for choice in plans[glacier].pairs}
    if pair not in choices:
        raise RunError(
            "verify", f"{glacier} {pair}", expected="a pair that the configuration leads to",
            got="another choice of pairs", hint="run again: the options have changed since",
        )
    made = config.output.folder / glacier / "pairs" / f"{pair}.tif"
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        open_stack(plans[glacier].site, config, budget_bytes=0) as stack,
    ):
        process_pair(
            choices[pair], stack=stack, folder=Path(elsewhere), config=config, clock=Clock()
        )
        again = Path(elsewhere) / made.name
        if not again.is_file() or checksum(again) != checksum(made):
            raise RunError(
                "verify", made, expected="the same bytes when it is computed again",
                got="others" if again.is_file() else "a pair that is not used",
                hint="the scenes, the processor or a library differ from those of the run",
            )
