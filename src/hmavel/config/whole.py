"""The whole configuration: reading it, and saying what is wrong with it."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hmavel.config.archive import Glaciers, Input, Scenes
from hmavel.config.option import Stage
from hmavel.config.products import ItsLive, Months, Output, Run
from hmavel.config.selection import Mask, Pairs, Screening
from hmavel.config.velocity import Bias, Correlate, Gates, Uncertainty
from hmavel.errors import ConfigError

if TYPE_CHECKING:
    from hmavel.sources import Sources


class Config(Stage):
    """The whole configuration of ``hmavel run``."""

    input: Input = Input()
    scenes: Scenes = Scenes()
    glaciers: Glaciers = Glaciers()
    mask: Mask = Mask()
    screening: Screening = Screening()
    pairs: Pairs = Pairs()
    correlate: Correlate = Correlate()
    bias: Bias = Bias()
    uncertainty: Uncertainty = Uncertainty()
    gates: Gates = Gates()
    months: Months = Months()
    itslive: ItsLive = ItsLive()
    output: Output = Output()
    run: Run = Run()

    @model_validator(mode="after")
    def _some_source(self) -> Config:
        if not (self.input.archive or self.scenes.any or self.itslive.alone):
            what = "a source of scenes: input.archive, or one in [scenes]"
            raise PydanticCustomError("source", what, {"got": "none"})
        return self

    def sources(self) -> Sources:
        """Return where scenes are looked for, as ``sources.find_all`` takes it."""
        from hmavel.sources import Sources

        return Sources(
            archive=tuple(self.input.archive),
            earth_engine=tuple(self.scenes.earth_engine),
            csv=tuple(self.scenes.csv),
            stac=tuple(self.scenes.stac),
            stac_collections=tuple(self.scenes.stac_collections),
            stac_max_cloud=self.scenes.stac_max_cloud,
            stac_alternate=self.scenes.stac_alternate,
            retries=self.scenes.retries,
            retry_delay_s=self.scenes.retry_delay_s,
        )


def load(path: Path) -> Config:
    """Read a configuration from a TOML file.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, a key is unknown (the nearest known one is
        named), or a value is out of its range.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "config", path, expected="a readable TOML file", got=_brief(error),
            hint="write one with: hmavel config > my.toml",
        ) from error
    except (ValueError, RecursionError) as error:  # also of numbers with 5000 digits
        raise ConfigError(
            "config", path, expected="TOML", got=f"{error}",
            hint="compare the line with the output of: hmavel config",
        ) from error
    return from_dict(data, base=path.absolute().parent, source=path)


def from_dict(data: dict[str, Any], *, base: Path | None = None, source: object = "") -> Config:
    """Validate a configuration given as nested tables; ``base`` anchors relative paths."""
    # An absent section is validated too: its default paths are relative to the file as well.
    data = {section: {} for section in Config.model_fields} | data
    try:
        return Config.model_validate(data, context={"base": base})
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # An unknown key comes first: it is often the cause of the others.
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        expected, got, hint = _explain(dict(problems[0]))
        if len(problems) > 1:
            hint += f" ({len(problems) - 1} more: "
            hint += ", ".join(_dotted(p["loc"]) for p in problems[1:]) + ")"
        raise ConfigError(
            "config", source or "values", expected=expected, got=got, hint=hint
        ) from error


def _explain(problem: dict[str, Any]) -> tuple[str, str, str]:
    """Turn one of pydantic's problems into (expected, got, hint)."""
    location = problem["loc"]
    name = _dotted(location)
    if problem["type"] == "extra_forbidden":
        section = location[0] if len(location) > 1 else ""
        where = f"[{section}]" if section else "the top level"
        return f"a known key in {where}", f"'{location[-1]}'", _nearest(location)
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"a section [{name}]", f"{problem['input']!r}", "see: hmavel config"
    text = str(problem["msg"]).removeprefix("Input should be ")
    shown = problem.get("ctx", {}).get("got") or repr(problem["input"])
    return f"{name}: {text}", shown, "see its range in: hmavel config"


def _nearest(location: tuple[Any, ...]) -> str:
    key = str(location[-1])
    sections = {
        name: list(field.annotation.model_fields)  # type: ignore[union-attr]
        for name, field in Config.model_fields.items()
    }
    if len(location) == 1:
        near = difflib.get_close_matches(key, sections, n=1)
        if near:
            return f"did you mean [{near[0]}]?"
    else:
        near = difflib.get_close_matches(key, sections.get(str(location[0]), []), n=1)
        if near:
            return f"did you mean '{near[0]}'?"
    for section, keys in sections.items():
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.8)
        if near:
            return f"did you mean '{near[0]}' of [{section}]?"
    known = sections.get(str(location[0]), []) if len(location) > 1 else list(sections)
    return "known are " + ", ".join(known)


def _dotted(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)


def _brief(error: Exception) -> str:
    reason = getattr(error, "strerror", None)
    return str(reason).lower() if reason else f"{type(error).__name__}: {error}"
