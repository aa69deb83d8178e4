"""What the sections of a configuration are made of: options, and checked kinds of values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    path = path.expanduser()
    return path if base is None or path.is_absolute() else Path(base) / path


def _address(value: str, info: ValidationInfo) -> str:
    """Leave the address of a server alone; a path is one beside the file."""
    return value if "://" in value else str(_beside_the_file(Path(value), info))


def _even(value: int) -> int:
    if value % 2:
        raise PydanticCustomError("even", "an even number")
    return value


def _month(value: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value):
        raise PydanticCustomError("month", 'a month like "2013-04"')
    return value


def _path_row(value: str) -> str:
    if not re.fullmatch(r"\d{1,3}/\d{1,3}", value):
        raise PydanticCustomError("wrs", 'a path/row like "140/041"')
    return value


def _baseline_set(value: tuple[float, float, int]) -> tuple[float, float, int]:
    if not (0 < value[0] <= value[1] and value[2] >= 1):
        raise PydanticCustomError("set", "[shortest, longest, pairs per scene]")
    return value


def _size(text: str) -> str:
    from hmavel.memory import parse

    try:
        parse(text)
    except ValueError as error:
        raise PydanticCustomError("size", 'a size like "8G" or "70%"') from error
    return text


UserPath = Annotated[Path, AfterValidator(_beside_the_file)]
BaselineSet = Annotated[tuple[float, float, int], AfterValidator(_baseline_set)]
Even = Annotated[int, AfterValidator(_even)]
Address = Annotated[str, AfterValidator(_address)]
Month = Annotated[str, AfterValidator(_month)]
PathRow = Annotated[str, AfterValidator(_path_row)]
Size = Annotated[str, AfterValidator(_size)]


def option(
    default: Any, description: str, unit: str = "", *, example: Any = None, **limits: Any
) -> Any:
    """Declare an option; ``example`` stands in the template where the default is not set."""
    extra = {"unit": unit, "example": example}
    return Field(default, description=description, json_schema_extra=extra, **limits)


class Stage(BaseModel):
    """What the sections share: frozen, and no key but the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def is_even(metadata: list[Any]) -> bool:
    """Say whether an option's value has to be even, from its field's metadata."""
    return any(getattr(item, "func", None) is _even for item in metadata)
