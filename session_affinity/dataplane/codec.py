"""Write what a node is asked, and what it found, as JSON data and read it again.

A dataclass becomes an object with the name of its class and the fields that do not have their default; tuples become
lists. Only the classes of this module can be read: the other side cannot name any other.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane import model, proxy_config
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASS: Final = "@"
_CLASSES: Final = {
    made.__name__: made
    for made in (
        *(model.Endpoint, model.EndpointEntry, model.Twin, model.ServicePort, model.ServiceState),
        *(proxy_config.ProxyConfig, Difference),
    )
}


def encoded(value: Any) -> Any:
    """Return a value as JSON data; raises TypeError for a class that cannot be read again."""
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if name not in _CLASSES:
            raise TypeError(f"{name} is not among the classes that are sent")
        given = {key: getattr(value, key) for key in _defaults(type(value))}
        kept = {key: each for key, each in given.items() if each != _defaults(type(value))[key]}
        return {_CLASS: name, **{key: encoded(each) for key, each in kept.items()}}
    if isinstance(value, (list, tuple)):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {str(key): encoded(each) for key, each in value.items()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be sent")


def decoded(data: Any) -> Any:
    """Return the value that was written as JSON data; raises NodeError for data of another form."""
    if isinstance(data, list):
        return tuple(map(decoded, data))
    if not isinstance(data, dict):
        return data
    values = {key: decoded(each) for key, each in data.items() if key != _CLASS}
    if _CLASS not in data:
        return values
    try:
        made = _CLASSES[data[_CLASS]]
        if made is Difference:
            values["aspect"] = Aspect(values["aspect"])
        return made(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise NodeError(f"data that cannot be read: {data.get(_CLASS)!r}: {error}") from error


@cache
def _defaults(made: type) -> Mapping[str, object]:
    """Return the default of each field of a class; an object that equals nothing where there is none."""
    defaults: dict[str, object] = {}
    for each in fields(made):
        if not each.init:
            continue
        if each.default is not MISSING:
            defaults[each.name] = each.default
        else:
            defaults[each.name] = object() if each.default_factory is MISSING else each.default_factory()
    return defaults
