"""Scripts as YAML files hold them (docs/testing.md has one), checked by pydantic."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

from kimi_vertex_emulator.answers import COMMANDS, Call, Fault, Raw, Turn
from kimi_vertex_emulator.script import Conditions, Match, Rule, TextMatch

try:
    import yaml
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Discriminator,
        Field,
        PositiveInt,
        Tag,
        TypeAdapter,
        ValidationError,
        create_model,
        with_config,
    )
except ModuleNotFoundError as error:
    raise ImportError('Scripts in files need the extra: pip install "kimi-vertex[testing]"') from error

__all__ = ["read_rules"]

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)


# A number where a text is wanted needs no quotes; a key that does not exist is a mistake.
for _type in (Call, Turn, Raw, Fault):
    with_config(_STRICT)(_type)
if TYPE_CHECKING:
    _Conditions = BaseModel
else:
    # The conditions are spelled in `script`, once.
    _named = {"text": TextMatch, **get_type_hints(Conditions)}
    _fields = {name: (kind | None, None) for name, kind in _named.items()}
    _Conditions = create_model("_Conditions", __config__=_STRICT, **_fields)


def _one_or_more(data: Any) -> Any:
    return data if isinstance(data, list) else [data]


def _kind(data: Any) -> str:
    if not isinstance(data, Mapping):
        return "text"
    return next((key for key in ("fault", "raw") if key in data), "turn")


def _fault(data: Mapping[str, Any]) -> dict[str, Any]:
    rest = dict(data)
    return {"kind": str(rest.pop("fault")), **rest}


def _raw(data: Mapping[str, Any]) -> dict[str, Any]:
    rest = dict(data)
    parts = _one_or_more(rest.pop("raw"))
    written = [part.encode() if isinstance(part, str) and part not in COMMANDS else part for part in parts]
    return {"parts": written, **rest}


def _match(data: Any) -> Any:
    """The conditions of a rule, patterns compiled; what is not a mapping is what the user said last."""
    given = data if isinstance(data, Mapping) else {"text": data}
    return {name: _compiled(value) for name, value in given.items() if value is not None}


def _compiled(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"regex"}:
        try:
            return re.compile(str(value["regex"]))
        except re.error as error:
            raise ValueError(f"{value['regex']!r} is not a regular expression: {error}") from error
    return {name: _compiled(inner) for name, inner in value.items()}


_Answer: TypeAlias = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[Turn, Tag("turn")]
    | Annotated[Fault, BeforeValidator(_fault), Tag("fault")]
    | Annotated[Raw, BeforeValidator(_raw), Tag("raw")],
    Discriminator(_kind),
]


class _Rule(BaseModel):
    model_config = _STRICT

    match: Annotated[_Conditions, BeforeValidator(_match)] = _Conditions()
    answer: Annotated[list[_Answer], BeforeValidator(_one_or_more)] | None = Field(default=None, min_length=1)
    always: _Answer | None = None
    times: PositiveInt = 1


def _made(data: _Rule) -> Rule:
    if data.answer is None and data.always is None:
        raise ValueError("a rule needs `answer` or `always`")
    conditions: Any = {name: getattr(data.match, name) for name in data.match.model_fields_set}
    rule = Rule(Match(**conditions))
    if data.answer is not None:
        rule.answer(*data.answer, times=data.times)
    return rule if data.always is None else rule.always(data.always)


_RULES = TypeAdapter(list[Annotated[_Rule, AfterValidator(_made)]])


def read_rules(path: str | Path) -> list[Rule]:
    """The rules of a YAML file: a mapping with `rules`, or the list itself.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else; the text begins with the path and says where.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        given = data["rules"] if isinstance(data, Mapping) and set(data) == {"rules"} else data
        rules: list[Any] = _RULES.validate_python(given)
        return rules
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        words = f"{first['msg']}, got {reprlib.repr(first['input'])}"
        raise ValueError(" ".join(f"{path}: rules{place}: {words}".split())) from error
