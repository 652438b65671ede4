"""Pydantic models that are made only when somebody looks at them.

Until then an instance holds a few of its fields and the means to make the rest. The first look at anything else turns
it, in place, into what the ordinary constructor makes: class, fields and all.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel

__all__ = ["Lazy", "Source", "lazy", "source_of"]

LazyT = TypeVar("LazyT", bound="Lazy")

_SOURCE: Final = "_source"
_MADE: Final = "_made"
_SLOTS: Final = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
_fields: Final[Any] = vars(BaseModel)["__dict__"]
"""The descriptor of an instance's own `__dict__`, which `Lazy` covers."""
_set: Final = object.__setattr__


class Source(Protocol):
    """What a lazy model is made from."""

    def ordinary(self, shown: dict[str, Any]) -> BaseModel:
        """Make the ordinary model, given the fields that were there from the beginning."""
        ...


class Lazy:
    """First base of a lazy class; the second is the ordinary class, to which nothing else may be added.

    Pydantic and its serialisers read an instance's `__dict__`, so that is a look like any other.
    """

    __slots__ = ()

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        fields: dict[str, Any] = vars(_settled(self))
        return fields

    def __getattr__(self, name: str) -> Any:
        # Reached for what is not there yet: fields, and pydantic's own slots.
        return getattr(_settled(self), name)

    def __eq__(self, other: object) -> bool:
        return bool(_settled(self) == other)

    __hash__ = None  # type: ignore[assignment]

    def __repr_name__(self) -> str:
        return str(_settled(self).__repr_name__())

    def __copy__(self) -> Any:
        return _settled(self).__copy__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return _settled(self).__deepcopy__(memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _settled(self).__reduce_ex__(protocol)


def lazy(cls: type[LazyT], shown: dict[str, Any], source: Source) -> LazyT:
    """Make a lazy model.

    Args:
        cls: Its class.
        shown: The fields that can be read without making the model, a dict that is given away.
        source: What the model is made from.
    """
    made = cls.__new__(cls)
    shown[_SOURCE] = source
    _fields.__set__(made, shown)
    return made


def source_of(model: BaseModel) -> Source | None:
    """What a lazy model will be made from; `None` for an ordinary model, or one that has become one."""
    source: Source | None = _fields.__get__(model).get(_SOURCE)
    return source


def _settled(model: Any) -> Any:
    """The same object as an ordinary model. Threads that look at the same time find the same fields."""
    shown = _fields.__get__(model)
    source: Source | None = shown.get(_SOURCE)
    if source is not None:
        ordinary = shown.setdefault(_MADE, source.ordinary(shown))
        fields = vars(ordinary)
        # Somebody may hold what could be read from the beginning, and change it.
        fields.update((name, value) for name, value in shown.items() if name in fields)
        for name in _SLOTS:
            _set(model, name, getattr(ordinary, name))
        _fields.__set__(model, fields)
    # Asked for once: another thread may change it at any moment.
    kind = type(model)
    if issubclass(kind, Lazy):
        _set(model, "__class__", kind.__bases__[-1])
    return model
