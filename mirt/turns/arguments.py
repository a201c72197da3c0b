"""Take the arguments of a call for what they mean, by the JSON Schema of its tool.

Models write values of a neighbouring type: a branch as 7, a quantity as "2", one tag without its
list, an object as its JSON, a name in two lines. Before validation these become what the schema
asks for. Everything else stays as it is, and validation refuses it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mirt.llm import Number

_ABSENT: Final = frozenset({"", "null", "none", "n/a", "-", "—"})
"""Texts with which models leave an optional value out."""
_PAIR_NAMES: Final = ("name", "key", "field")
_LONGEST_NUMBER: Final = 40


def understand(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with values of the types that ``schema`` asks for, where they mean them.

    >>> schema = {"properties": {"branch": {"type": "string"}, "quantity": {"type": "integer"}}}
    >>> understand({"branch": 7, "quantity": "2"}, schema)
    {'branch': '7', 'quantity': 2}
    """
    return _Reader(schema.get("$defs", {})).object(dict(arguments), schema)


class _Reader:
    """A reader of arguments, with the definitions that a schema refers to."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def object(self, value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        value = _unwrapped(value, properties)
        names = {_letters(name): name for name in properties}
        read: dict[str, Any] = {}
        for written, one in value.items():
            name = names.get(_letters(written), written)
            wanted = properties.get(name, {})
            is_optional = name in properties and name not in schema.get("required", ())
            # An empty number is no default: the customer may have named one.
            if is_optional and _is_absent(one) and (one is None or wanted.get("type") != "integer"):
                continue
            read[name] = self.value(one, wanted)
        return read

    def value(self, value: Any, schema: Mapping[str, Any]) -> Any:
        if reference := schema.get("$ref"):
            return self.value(value, self._definitions[reference.rpartition("/")[2]])
        if options := schema.get("anyOf"):
            return self.value(value, next(one for one in options if one.get("type") != "null"))
        match schema.get("type"):
            case "object":
                return self._object(value, schema)
            case "array":
                return self._array(value, schema.get("items", {}))
            case "string":
                return _in_one_line(_text(value))
            case "integer":
                return _whole(value)
        return value

    def _object(self, value: Any, schema: Mapping[str, Any]) -> Any:
        value = _from_json(value)
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping):
            pairs = _pairs(value)
            if pairs is None:
                return value
            return {name: self._entry(one) for name, one in pairs.items() if not _is_absent(one)}
        return self.object(value, schema) if isinstance(value, Mapping) else value

    def _entry(self, value: Any) -> Any:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            texts = [self._entry(one) for one in value]
            return ", ".join(texts) if all(isinstance(one, str) for one in texts) else value
        return _text(value)

    def _array(self, value: Any, items: Mapping[str, Any]) -> Any:
        value = _from_json(value)
        if value is None:
            return value
        of_texts = items.get("type") == "string"
        if isinstance(value, str) and of_texts:
            value = re.split(r"[,;\n]", value)
        values = value if isinstance(value, list) else [value]
        read = [self.value(one, items) for one in map(_from_json, values)]
        return [_stripped(one) for one in read if not _is_absent(one)] if of_texts else read


def _unwrapped(value: Mapping[str, Any], properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments from within an object of one entry, like ``{"order": {...}}``."""
    if len(value) == 1 and not value.keys() & properties.keys():
        inner = _from_json(next(iter(value.values())))
        if isinstance(inner, Mapping) and inner.keys() & properties.keys():
            return inner
    return value


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().casefold() in _ABSENT)


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _from_json(value: Any) -> Any:
    """Return the object or list that a text holds as JSON; any other value as it is."""
    if isinstance(value, str) and value.strip().startswith(("{", "[")):
        try:
            return json.loads(value, parse_float=Number)
        except (ValueError, RecursionError):
            return value
    return value


def _pairs(value: Any) -> Mapping[str, Any] | None:
    """Return names with their values, also from ``[{"name": …, "value": …}]``; else None."""
    if isinstance(value, Mapping):
        name = next((one for one in _PAIR_NAMES if value.keys() == {one, "value"}), None)
        return value if name is None else {str(value[name]): value["value"]}
    if not isinstance(value, list):
        return None
    pairs: dict[str, Any] = {}
    for one in value:
        if (pair := _pairs(one)) is None:
            return None
        pairs |= pair
    return pairs


def _in_one_line(value: Any) -> Any:
    """Return a text with spaces for its line breaks and tabs."""
    return re.sub(r"[\r\n\t]+", " ", value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float | Number) and not isinstance(value, bool)
    return str(_whole(value)) if is_number else value


def _whole(value: Any) -> Any:
    """Return the whole number that a value means, like ``"2"`` and 2.0; else the value itself."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    written = str(value).strip()
    if len(written) > _LONGEST_NUMBER or not re.fullmatch(r"[+-]?\d+(\.0*)?", written, re.ASCII):
        return value
    return int(written.partition(".")[0])
