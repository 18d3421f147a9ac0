"""Settings: a dataclass filled from YAML and `key=value` words; an unknown key or a wrong type is an error."""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def load(kind: type[T], path: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> T:
    """`kind` (a dataclass, possibly of dataclasses) from a YAML file, then from words like `model.width=64`.

    A value of a word is read as YAML, so `true`, `[1, 2]` and `1e-4` mean what they look like.
    Raises ValueError, one line: the file or word, the key, and the keys that exist.
    """
    import yaml

    values: dict[str, Any] = {}
    where = "settings"
    if path is not None:
        where = str(path)
        try:
            read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8 text; name a YAML file") from None
        if read is not None and not isinstance(read, dict):
            raise ValueError(f"{path}: holds no `key: value` lines; name a YAML file of settings")
        values = read or {}
    settings = build(kind, values, where)
    for word in overrides:
        key, sign, text = word.partition("=")
        if not sign or not key:
            raise ValueError(f"{word}: is not key=value; known keys: {', '.join(keys(kind))}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        settings = _replace(settings, key.split("."), value, word)
    return settings


def keys(kind: type) -> list[str]:
    """The known keys, nested ones as `outer.inner`."""
    hints, names = typing.get_type_hints(kind), []
    for field in dataclasses.fields(kind):
        inner = hints[field.name]
        if dataclasses.is_dataclass(inner):
            names += [f"{field.name}.{name}" for name in keys(typing.cast(type, inner))]
        else:
            names.append(field.name)
    return names


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


def _replace(settings: T, path: list[str], value: Any, word: str) -> T:
    hints = typing.get_type_hints(type(settings))
    fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    _known(path[0], fields, word)
    if len(path) > 1:
        inner = getattr(settings, path[0])
        if not dataclasses.is_dataclass(inner):
            raise ValueError(f"{word}: {path[0]} has no keys inside it")
        value = _replace(inner, path[1:], value, word)
    else:
        value = _convert(hints[path[0]], value, word)
    return dataclasses.replace(settings, **{path[0]: value})  # type: ignore[type-var]


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
