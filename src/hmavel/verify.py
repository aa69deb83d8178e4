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
from hmavel.glacier_pairs import PairFingerprints, open_stack, process_pair
from hmavel.inputs import INPUTS
from hmavel.outcome import Clock
from hmavel.parallel import Failure

if TYPE_CHECKING:
    from hmavel.config import Config
    from hmavel.pairing import PairChoice
    from hmavel.site import Site

    #: (glacier, pair) -> what the configuration leads to.
    Choices = dict[tuple[str, str], tuple[PairChoice, Site]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """What came of it."""

    files: int  #: compared with their checksums
    remade: int  #: pairs computed once more
    failures: list[Failure]


def verify_run(
    folder: Path, *, sample: int = 3, seed: int = 0, mend: bool = False, inputs: bool = True
) -> Verified:
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
    inputs
        Compare the files of all scenes with what the pairs were made from, by size and time of
        change, and their pixels in the sample by checksum. False: look at products only.

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
    known: dict[tuple[str, str], dict[str, Any]] = {}
    sound: list[tuple[str, str]] = []
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
        if path.parent.name == "pairs" and not wrong:
            key = path.parent.parent.name, path.stem
            known[key] = record
            sound += [key] if record.get("state") == "used" else []
    chosen = random.Random(seed).sample(sound, min(max(sample, 0), len(sound)))
    if known and inputs:
        given = configuration.load(folder / "config.toml")
        here = given.output.model_copy(update={"folder": folder.absolute()})
        given = given.model_copy(update={"output": here})
        plans = parallel.attempt(partial(planning.recall, given), "the inputs of the run")
        if isinstance(plans, Failure):
            return Verified(files, 0, [*failures, plans])
        choices = {
            (glacier, choice.id): (choice, plan.site)
            for glacier, plan in plans.items() for choice in plan.pairs
        }  # fmt: skip
        for (glacier, pair), record in known.items():
            check = partial(_same_inputs, choices, glacier, pair, given, record)
            result = parallel.attempt(check, f"inputs of pair {pair} of {glacier}")
            failures += [result] if isinstance(result, Failure) else []
        for glacier, pair in chosen:
            check = partial(_again, choices, glacier, pair, given)
            result = parallel.attempt(check, f"pair {pair} of {glacier}")
            failures += [result] if isinstance(result, Failure) else []
    return Verified(files, len(chosen) if inputs else 0, failures)


def _records(folder: Path) -> list[Path]:
    """Return the records that have checksums: of pairs, months and mosaics."""
    patterns = ("*/pairs/*.json", "*/months.json", "*/products.json", "*/mosaic.json")
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _choice(choices: Choices, glacier: str, pair: str) -> tuple[PairChoice, Site]:
    if (glacier, pair) not in choices:
        raise RunError(
            "verify", f"{glacier} {pair}", expected="a pair that the configuration leads to",
            got="another choice of pairs", hint="run again: the options have changed since",
        )
    return choices[glacier, pair]


def _same_inputs(
    choices: Choices, glacier: str, pair: str, config: Config,
    record: dict[str, Any],
) -> None:
    """Compare sizes and times of a pair's files, and the options, with those it was made of."""
    choice, site = _choice(choices, glacier, pair)
    if PairFingerprints(site, config).of(choice) != record.get(state.KEY):
        raise RunError(
            "verify", f"{glacier} {pair}", expected="the files and options it was made from",
            got="others: a size, a time of change, an option or the program's version differs",
            hint="run again: what has changed is made anew",
        )


def _again(choices: Choices, glacier: str, pair: str, config: Config) -> None:
    """Compute a pair once more, elsewhere, and compare its file to the byte."""
    choice, site = _choice(choices, glacier, pair)
    made = config.output.folder / glacier / "pairs" / f"{pair}.tif"
    before = state.read_record(made.with_suffix(".json"))
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        open_stack(site, config, budget_bytes=0) as stack,
    ):
        row = process_pair(
            choice, stack=stack, fingerprints=PairFingerprints(site, config),
            folder=Path(elsewhere), config=config, clock=Clock(),
        )  # fmt: skip
        for scene, digest in row[INPUTS].items():
            if before.get(INPUTS, {}).get(scene) != digest:
                raise RunError(
                    "verify", f"{glacier} {scene}",
                    expected="the pixels and masks that the pair was made from", got="others",
                    hint="fetch the scene again: it was changed without a trace in its size",
                )
        again = Path(elsewhere) / made.name
        if not again.is_file() or checksum(again) != checksum(made):
            raise RunError(
                "verify", made, expected="the same bytes when it is computed again",
                got="others" if again.is_file() else "a pair that is not used",
                hint="the processor or a library differs from those of the run",
            )
