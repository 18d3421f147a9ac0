"""Settings: a dataclass filled from YAML and `key=value` words; an unknown key or a wrong type is an error.

CONFIG.yaml ─read_yaml─▶ mapping ─override─▶ mapping ─build─▶ dataclass
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping that a YAML file holds, with $VARIABLES in its texts replaced; ValueError, one line, when it is none.

    $VCM_SHARED is the data folder, ../shared where nothing else is set.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; name a YAML file") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds no `key: value` lines; name a YAML file of settings")
    return expand(values)


def expand(value: Any) -> Any:
    """$VCM_SHARED (default ../shared) and other variables in every text inside lists and mappings."""
    os.environ.setdefault("VCM_SHARED", "../shared")
    if isinstance(value, dict):
        return {key: expand(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner) for inner in value]
    return os.path.expandvars(value) if isinstance(value, str) else value


def override(values: Mapping[str, Any], word: str) -> dict[str, Any]:
    """`values` with a word like `model.width=64` put in; what stands after the sign is read as YAML."""
    import yaml

    key, sign, text = word.partition("=")
    if not sign or not key:
        raise ValueError(f"{word}: is not key=value")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        value = text
    return _with(values, key.split("."), value, word)


def _with(values: Mapping[str, Any], keys: list[str], value: Any, word: str) -> dict[str, Any]:
    if len(keys) > 1:
        inner = values.get(keys[0]) or {}
        if not isinstance(inner, Mapping):
            raise ValueError(f"{word}: {keys[0]} has no keys inside it")
        value = _with(inner, keys[1:], value, word)
    return {**values, keys[0]: value}


def build(kind: type[T], values: Mapping[str, Any], where: str = "settings") -> T:
    """`kind` from a mapping; every key must be known, every value of the annotated type."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for key, value in values.items():
        _known(str(key), fields, where)
        given[key] = _convert(hints[key], value, f"{where}: {key}")
    missing = [name for name, field in fields.items() if name not in given
               and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]  # fmt: skip
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} must be given")
    return kind(**given)


def _known(key: str, fields: Mapping[str, Any], where: str) -> None:
    if key not in fields:
        near = difflib.get_close_matches(key, fields, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{where}: unknown key {key}{hint}; known keys: {', '.join(fields)}")


def _convert(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: exact for bool and str, int → float allowed, lists → tuples, mappings → dataclasses."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        for option in inner:
            try:
                return _convert(option, value, where)
            except ValueError:
                continue
    elif origin is typing.Literal:
        if value in inner:
            return value
        raise ValueError(f"{where}: {value!r} is not one of {', '.join(map(str, inner))}")
    elif dataclasses.is_dataclass(kind):
        if isinstance(value, Mapping):
            return build(typing.cast(type, kind), value, where)
    elif origin in (list, tuple):
        if isinstance(value, list | tuple):
            if origin is tuple and Ellipsis not in inner:
                if len(value) == len(inner):
                    return tuple(_convert(k, v, where) for k, v in zip(inner, value, strict=True))
            else:
                return origin(_convert(inner[0], v, where) for v in value)
    elif origin is dict:
        if isinstance(value, Mapping):
            return {_convert(inner[0], k, where): _convert(inner[1], v, where) for k, v in value.items()}
    elif kind is type(None):
        if value is None:
            return None
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        try:  # YAML 1.1 reads 1e-4, without a point, as text
            return float(value) if isinstance(value, str) else _fail(kind, value, where)
        except ValueError:
            pass
    elif kind is Path:
        if isinstance(value, str):
            return Path(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    return _fail(kind, value, where)


def _fail(kind: Any, value: Any, where: str) -> Any:
    raise ValueError(f"{where}: {value!r} is not {getattr(kind, '__name__', None) or str(kind)}")
