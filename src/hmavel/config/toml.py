"""A configuration as TOML, with or without what each option means."""

from __future__ import annotations

import json
from datetime import date
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from hmavel.config.option import is_even
from hmavel.config.whole import Config
from hmavel.vsi import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from hmavel.config.option import Stage


def template() -> str:
    """Return a commented TOML file with every option, its unit, range and default."""
    head = (
        "# Configuration of hmavel. Every option is listed with its default;\n"
        "# lines that begin with a single '#' and a name are not set.\n"
        "# Relative paths are relative to this file.\n"
    )
    return head + _to_toml(Config(), comments=True)


def to_toml(config: Config) -> str:
    """Return the resolved configuration as TOML that ``load`` reads back to the same."""
    return _to_toml(config, comments=False)


def as_json(config: Stage) -> dict[str, Any]:
    """Return the resolved configuration, or a section of it, as plain JSON values."""
    return config.model_dump(mode="json")


def product_options(config: Config) -> dict[str, Any]:
    """Return what a product may depend on, as plain JSON values.

    Not how the work was spread nor where the products went: neither shows in them. Of files
    the name and of addresses what leads there without a key: products are published, the
    folders of a user are not.
    """
    left_out: Any = {"run": True, "output": {"folder"}}
    values = config.model_dump(exclude=left_out)
    return _placeless(values, config.model_dump(mode="json", exclude=left_out))  # type: ignore[no-any-return]


def _placeless(value: Any, plain: Any) -> Any:
    """Return the JSON form ``plain`` of ``value`` without folders, users and keys."""
    if isinstance(value, dict):
        return {key: _placeless(value[key], plain[key]) for key in value}
    if isinstance(value, list | tuple):
        return [_placeless(*both) for both in zip(value, plain, strict=True)]
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str) and "://" in value:
        return public(value)
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    return plain


def _to_toml(config: Config, *, comments: bool) -> str:
    lines: list[str] = []
    for section, field in type(config).model_fields.items():
        stage = getattr(config, section)
        if not type(stage).model_fields:
            continue
        lines.append("")
        if comments:
            lines.append(f"# {(type(stage).__doc__ or '').strip()}")
        lines.append(f"[{section}]")
        del field
        for key, info in type(stage).model_fields.items():
            lines.extend(_option_lines(key, getattr(stage, key), info, comments=comments))
    return "\n".join(lines) + "\n"


def _option_lines(key: str, value: Any, info: FieldInfo, *, comments: bool) -> Iterator[str]:
    extra = info.json_schema_extra
    extra = extra if isinstance(extra, dict) else {}
    if comments:
        facts = [f"unit {extra['unit']}"] if extra.get("unit") else []
        facts += [f"range {_range(info)}"] if _range(info) else []
        yield f"# {info.description}" + (f" [{'; '.join(facts)}]" if facts else "")
    if value is not None:
        yield f"{key} = {_toml_value(value)}"
    elif comments:
        yield f"# {key} = {_toml_value(extra['example'])}"


def _range(info: FieldInfo) -> str:
    if getattr(info.annotation, "__origin__", None) is Literal:
        return " | ".join(_toml_value(choice) for choice in info.annotation.__args__)  # type: ignore[union-attr]
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in info.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    even = ["even"] if is_even(info.metadata) else []
    return ", ".join(found + even)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if value else "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    # JSON's escapes are a subset of those of a TOML basic string.
    return json.dumps(str(value), ensure_ascii=False)
