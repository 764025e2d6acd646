"""Nested dicts, tuples, named tuples and lists: their leaves, and others of the same structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def items(nest: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give each leaf with the way to it; dicts in the order of their keys.

    Everything but a dict, tuple or list is a leaf, None too.

    Examples
    --------
    >>> list(items({"w": (1.0, 2.0), "b": 3.0}))
    [("['w'][0]", 1.0), ("['w'][1]", 2.0), ("['b']", 3.0)]
    """
    if isinstance(nest, (dict, tuple, list)):
        for way, part in _parts(nest, path):
            yield from items(part, way)
    else:
        yield path, nest


def matches(model: Any, nest: Any, leaves: list[Any]) -> bool:
    """Return whether `nest` is built like `model`, and append its leaves to `leaves`, in the order of `model`.

    Dicts need the same keys, in any order; a tuple is as good as a list.

    Examples
    --------
    >>> leaves = []
    >>> matches({"w": (0, 0), "b": 0}, {"b": 3.0, "w": [1.0, 2.0]}, leaves), leaves
    (True, [1.0, 2.0, 3.0])
    """
    if isinstance(model, dict):
        if not isinstance(nest, dict) or nest.keys() != model.keys():
            return False
        return all([matches(part, nest[key], leaves) for key, part in model.items()])
    if isinstance(model, (tuple, list)):
        if not isinstance(nest, (tuple, list)) or len(nest) != len(model):
            return False
        return all([matches(part, own, leaves) for part, own in zip(model, nest, strict=True)])
    leaves.append(nest)
    return not isinstance(nest, (dict, tuple, list))


def difference(model: Any, nest: Any, path: str = "") -> tuple[str, str, str]:
    """Return where `nest` first differs from `model`, and in words what is there in `model`, and what in `nest`.

    Examples
    --------
    >>> difference({"w": (0, 0), "b": 0}, {"w": (1.0, [2.0]), "b": 3.0})
    ("['w'][1]", 'one array', 'a list of 1')
    """
    if isinstance(model, dict) and isinstance(nest, dict) and nest.keys() == model.keys():
        others = [nest[key] for key in model]
    elif isinstance(model, (tuple, list)) and isinstance(nest, (tuple, list)) and len(nest) == len(model):
        others = list(nest)
    else:
        return path, _kind(model) if isinstance(model, (dict, tuple, list)) else "one array", _kind(nest)
    pairs = zip(_parts(model, path), others, strict=True)
    return next(difference(own, other, way) for (way, own), other in pairs if not matches(own, other, []))


def rebuild(model: Any, leaves: Iterator[Any]) -> Any:
    """Return a nest built like `model` of the next `leaves`.

    Examples
    --------
    >>> rebuild({"w": (0, 0), "b": 0}, iter([1.0, 2.0, 3.0]))
    {'w': (1.0, 2.0), 'b': 3.0}
    """
    if isinstance(model, dict):
        return {key: rebuild(part, leaves) for key, part in model.items()}
    if isinstance(model, tuple) and hasattr(model, "_fields"):
        return type(model)(*[rebuild(part, leaves) for part in model])
    if isinstance(model, (tuple, list)):
        kind = list if isinstance(model, list) else tuple
        return kind([rebuild(part, leaves) for part in model])
    return next(leaves)


def _parts(nest: Any, path: str) -> list[tuple[str, Any]]:
    """Return what a dict, tuple or list holds, with the ways there."""
    if isinstance(nest, dict):
        return [(f"{path}[{key!r}]", part) for key, part in nest.items()]
    names = getattr(nest, "_fields", None)
    return [(f"{path}.{names[i]}" if names else f"{path}[{i}]", part) for i, part in enumerate(nest)]


def _kind(nest: Any) -> str:
    if isinstance(nest, dict):
        return f"a dict of {', '.join(map(repr, nest)) or 'nothing'}"
    if isinstance(nest, (tuple, list)):
        return f"a {type(nest).__name__} of {len(nest)}"
    return "None" if nest is None else f"one {type(nest).__name__}"
