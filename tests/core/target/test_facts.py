"""What is learned of a target: reason, time, end, who may see it, and that it does not travel."""

from __future__ import annotations

import logging
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from kimi_vertex._target.facts import TargetFacts

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def facts(clock: Clock) -> TargetFacts:
    return TargetFacts("project p", clock)


def test_nothing_is_known_at_first(facts: TargetFacts) -> None:
    """Without a fact the default is given, which is not a fact."""
    assert facts.value("refuses_forced_choice", False) is False
    assert (dict(facts), len(facts)) == ({}, 0)
    assert not facts.knows("dedicated_dns")


def test_a_fact_says_how_and_when(facts: TargetFacts) -> None:
    """A fact has its value, its reason, its time and its end; `None` is a value like any other."""
    facts.learn("dedicated_dns", None, "GET https://example.com")
    fact = facts["dedicated_dns"]
    assert (fact.value, fact.how, fact.since, fact.until) == (None, "GET https://example.com", START, None)
    assert facts.knows("dedicated_dns")


def test_a_fact_ends(facts: TargetFacts, clock: Clock) -> None:
    """What is past its end is not known any more, in whichever way it is asked for."""
    facts.learn("refuses_forced_choice", True, "HTTP 400", lasts=timedelta(hours=1))
    assert facts.value("refuses_forced_choice") is True
    clock.now += timedelta(hours=1)
    assert facts.value("refuses_forced_choice") is None
    assert list(facts) == []
    with pytest.raises(KeyError):
        facts["refuses_forced_choice"]


def test_facts_about_models_are_kept_apart(facts: TargetFacts) -> None:
    """What one model refuses says nothing about another one at the same place."""
    facts.learn("refuses_forced_choice", True, "HTTP 400", model="a/b")
    assert facts.value("refuses_forced_choice", model="a/c") is None
    assert list(facts) == ["refuses_forced_choice[a/b]"]


def test_facts_are_logged(facts: TargetFacts, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG the log names place, fact, value and reason."""
    with caplog.at_level(logging.DEBUG, "kimi_vertex.facts"):
        facts.learn("dedicated_dns", "a.example", "GET x")
    assert caplog.messages == ["Learned of project p: dedicated_dns is 'a.example' (GET x)."]


def test_facts_are_not_pickled(facts: TargetFacts) -> None:
    """Another process may reach another server, and learns for itself."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(facts)
