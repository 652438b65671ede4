"""Scripts: rules in the order in which they are asked, from Python or from YAML.

The queue of `Emulator.enqueue` comes before any script, the brain after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._script_data import MisplacedError, read_rules
from kimi_vertex_emulator._yaml import read_yaml
from kimi_vertex_emulator.matching import Match, Rule, TextMatch
from kimi_vertex_emulator.script import Answer, Recorded

__all__ = ["Script"]


class Script:
    """Rules that say which requests get which answers; the first that matches and has an answer left answers.

    Example:
        ```python
        script = Script()
        script.on("weather", turn=0).answer(Turn(tool_calls=[Call("get_weather", {"city": "Oslo"})]))
        script.on(result="snow").answer("Take boots.")
        with Emulator(script=script) as emulator: ...
        ```

    Args:
        rules: The rules, in order.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = list(rules)

    def on(
        self,
        text: TextMatch | None = None,
        *,
        anywhere: TextMatch | None = None,
        system: TextMatch | None = None,
        result: TextMatch | None = None,
        tools: Collection[str] | None = None,
        turn: int | None = None,
        model: str | None = None,
        path: str | None = None,
        headers: Mapping[str, TextMatch] | None = None,
        when: Callable[[ChatRequest], bool] | None = None,
    ) -> Rule:
        """Adds a rule for the requests that fulfil all the conditions; without any, for every request.

        Args:
            text: What the user said last: a substring, a compiled pattern, or a function.
            anywhere: The same for all texts of the history.
            system: The same for the system messages.
            result: The same for the last message, which has to be a tool's result.
            tools: Names of tools that the request declares, among others; empty: it declares none.
            turn: How many assistant messages the history has: 0 in the first turn.
            model: The model's name, with wildcards.
            path: The request's path, with wildcards.
            headers: Headers by name.
            when: Any further condition on the request.

        Returns:
            The rule, to be given its answers.
        """
        match = Match(
            text=text,
            anywhere=anywhere,
            system=system,
            result=result,
            tools=tools,
            turn=turn,
            model=model,
            path=path,
            headers=headers or {},
            when=when,
        )
        self.rules.append(Rule(match))
        return self.rules[-1]

    def take(self, chat: ChatRequest, request: Recorded) -> Answer | None:
        """The answer to a request, `None` if no rule has one."""
        return next((found for rule in self.rules if (found := rule.take(chat, request)) is not None), None)

    @property
    def remaining(self) -> int:
        """How many answers of sequences have not been asked for."""
        return sum(rule.remaining for rule in self.rules)

    @property
    def unconsumed(self) -> list[str]:
        """In words, what was never asked for."""
        return [words for rule in self.rules if (words := rule.unconsumed) is not None]

    def copy(self) -> Script:
        """The same script, unused."""
        return Script(rule.copy() for rule in self.rules)

    @classmethod
    def from_data(cls, data: Any) -> Script:
        """A script from plain data: what a YAML or JSON file holds.

        Raises:
            ValueError: The data is no script; the text says where.
        """
        try:
            return cls(read_rules(data))
        except MisplacedError as error:
            raise ValueError(f"script: {error}") from error

    @classmethod
    def from_yaml(cls, path: str | Path) -> Script:
        """A script from a YAML file; needs PyYAML (`pip install "kimi-vertex[testing]"`).

        Raises:
            ImportError: PyYAML is not installed.
            OSError: The file cannot be read.
            ValueError: The file is no script; the text says in which line.
        """
        document = read_yaml(path)
        try:
            return cls(read_rules(document.data))
        except MisplacedError as error:
            raise ValueError(f"{path}:{document.line(error.place)}: {error}") from error
