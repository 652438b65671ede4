"""Copies of a pydantic model, made from an example of it without validating them again.

The example is made the ordinary way, so that fields which the framework adds appear with their defaults. What is
filled in must be what validation would make of it; tests compare each kind of object with one made the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

from pydantic import BaseModel

__all__ = ["Template"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_SHARED: Final = (str, int, float, bytes, type(None))
"""Types whose values all copies can have in common; everything else is made anew for each."""

_set_fields, _set_fields_set, _set_extra, _set_private = (
    BaseModel.__dict__[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
"""The four slots that make up an instance, which pydantic's own `__setattr__` guards."""


class Template(Generic[ModelT]):
    """Makes models that differ from an example in some fields only.

    Args:
        example: A model made the ordinary way, with all the fields set that its copies will have set.
        varying: The fields for which `fill` gets values.
    """

    __slots__ = ("_class", "_extra", "_fields_set", "_fixed", "_fresh", "_new", "_private")

    def __init__(self, example: ModelT, *varying: str) -> None:
        self._class = type(example)
        self._new = self._class.__new__
        self._fields_set = frozenset(example.model_fields_set)
        self._extra = _source(example.__pydantic_extra__)
        self._private = _source(example.__pydantic_private__)
        # Varying fields keep their place: the order of fields is seen in dumps and in `repr`.
        self._fixed = dict(vars(example))
        self._fresh: tuple[tuple[str, Callable[[], Any]], ...] = tuple(
            (name, make)
            for name, value in self._fixed.items()
            if name not in varying and (make := _default_factory(example, name) or _source(value))
        )

    def fill(self, values: dict[str, Any]) -> ModelT:
        """Make a model.

        Args:
            values: Exactly the varying fields, with values that belong to this model alone.
        """
        fields = self._fixed | values
        for name, make in self._fresh:
            fields[name] = make()
        model: ModelT = self._new(self._class)
        _set_fields(model, fields)
        _set_fields_set(model, set(self._fields_set))
        _set_extra(model, self._extra and self._extra())
        _set_private(model, self._private and self._private())
        return model


def _default_factory(example: BaseModel, name: str) -> Callable[[], Any] | None:
    """What made a field's value in the example, if that was a default of its own."""
    field = type(example).model_fields.get(name)
    if field is None or name in example.model_fields_set:
        return None
    if getattr(field, "default_factory_takes_validated_data", False):  # pydantic >= 2.10
        return None
    return cast("Callable[[], Any] | None", field.default_factory)


def _source(value: object) -> Callable[[], Any] | None:
    """What makes one more of a value; `None` for one that all copies can have in common."""
    if isinstance(value, _SHARED):
        return None
    if value in ({}, []):
        return type(value)
    return partial(deepcopy, value)
