"""Read and write any stage's settings as TOML; an unknown key is an error."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from drcnet.errors import ConfigError

__all__ = ["Frozen", "load_settings", "settings_toml"]


class Frozen(BaseModel):
    """Immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


AnySettings = TypeVar("AnySettings", bound=BaseModel)


def load_settings(
    path: Path | None,
    model: type[AnySettings],
    overrides: Mapping[str, Any] | None = None,
) -> AnySettings:
    """Read settings from a TOML file.

    Parameters
    ----------
    path : Path or None
        The file; None gives the defaults.
    model : type
        Which settings class the file holds.
    overrides : Mapping, optional
        Values that replace those of the file; keys may be dotted ('prepare.workers').

    Returns
    -------
    BaseModel
        An instance of `model`.

    Raises
    ------
    ConfigError
        The file is absent or not TOML, a key is unknown (the known ones are listed), or a value
        is out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as err:
            raise ConfigError(path, "a readable TOML file", err.strerror or str(err)) from err
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise ConfigError(path, "TOML", str(err)) from err
    for key, value in (overrides or {}).items():
        _set_dotted(values, key, value)
    try:
        return model.model_validate(values)
    except ValidationError as err:
        raise _explain(path or "settings", model, err) from err


def settings_toml(settings: BaseModel) -> str:
    """Write settings as TOML that `load_settings` reads back to an equal object.

    Parameters
    ----------
    settings : BaseModel
        Any settings.

    Returns
    -------
    str
        TOML text; fields that are None are left out.
    """
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))


def _set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value


def _explain(where: str | Path, model: type[BaseModel], err: ValidationError) -> ConfigError:
    """Turn the first validation error into one sentence, with the known keys where it helps."""
    first = err.errors()[0]
    location = first["loc"]
    name = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(model, location[:-1]))
        return ConfigError(where, f"one of the known keys ({known})", f"the unknown key '{name}'")
    return ConfigError(where, f"'{name}': {first['msg']}", repr(first["input"]))


def _known_keys(model: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        annotation = field.annotation if field is not None else None
        args = getattr(annotation, "__args__", ())
        model = next((a for a in (annotation, *args, model) if hasattr(a, "model_fields")), model)
    return sorted(getattr(model, "model_fields", {}))
