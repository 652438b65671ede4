"""The first half of an attempt: whose request it is, where it goes, and what its head says.

What has to be found out before (the endpoint's own host, a server's model, the route that answers) is asked for here,
once for all clients of a target.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kimi_vertex._secrets import Hidden
from kimi_vertex._signs import may_hold_tokens
from kimi_vertex._target.facts import RELEARN
from kimi_vertex._target.names import parse_dedicated_dns
from kimi_vertex._target.target import Route, Target
from kimi_vertex.errors import APIStatusError, InvalidRequestError

from .advice import dedicated_dns, is_waking, may_be_elsewhere
from .caller import authorize, read_json, refusal, send
from .commands import Head, Identity, Request, Steps
from .said import Said
from .state import Exchange

__all__ = ["Retry", "ask"]

logger = logging.getLogger("kimi_vertex")


class Retry(Exception):
    """Retry immediately; the text says why."""


def ask(exchange: Exchange) -> Steps[Head]:
    """Make the request; return the head of an answer."""
    identity = yield from authorize(exchange, exchange.refused_token)
    exchange.refused_token, exchange.token = None, identity.token
    if exchange.target.needs_discovery:
        exchange.target = yield from _discover(exchange, identity)
    if exchange.target.asks_for_model and not exchange.payload.body.get("model"):
        yield from _find_model(exchange, identity)
    content = _content(exchange)
    _check_size(content, exchange.target)
    return (yield from _post(exchange, identity, content))


def _content(exchange: Exchange) -> bytes:
    """The body as it is sent, with special tokens in its texts broken up."""
    content = exchange.payload.encoded()
    if exchange.settings.break_tokens and may_hold_tokens(content):
        payload, count = exchange.payload.with_broken_tokens()
        if count:
            logger.info(
                "The request's texts hold special tokens, which %d invisible signs (U+2060) break up; the answer comes without "
                "them. With break_tokens=False tokens are sent as they are (%s).",
                count,
                exchange.place,
            )
            content = payload.encoded()
            assert exchange.decoder is not None
            exchange.decoder.mend()
    return content


def _post(exchange: Exchange, identity: Identity, content: bytes) -> Steps[Head]:
    """Make the request on the way that is known, or on one after the other while there is nothing at its address."""
    accept = "text/event-stream" if exchange.stream else "application/json"
    headers = identity.added_to(exchange.headers, content_type="application/json", accept=accept)
    usual, known = exchange.target.routes, exchange.facts.value("route")
    routes = (known, *(route for route in usual if route != known)) if known in usual else usual
    first: APIStatusError | None = None
    failure: APIStatusError | None = None
    try:
        for route in routes:
            url = exchange.target.with_route(route).url(
                stream=exchange.stream, universe_domain=identity.universe_domain, model=exchange.payload.model
            )
            head = yield from _send(exchange, Request("POST", url, headers, content))
            if head.status == 200:
                if first is not None:
                    _learn_route(exchange, route, first)
                return head
            failure = yield from refusal(exchange, head)
            said = exchange.said
            assert said is not None
            _follow_dedicated(exchange, said, identity)
            first = first or failure
            if not may_be_elsewhere(said):
                # Another status than that of a wrong address is what the right one answers.
                raise failure if head.status not in (404, 405) or is_waking(said) else first
        assert first is not None
        raise first
    finally:
        first = failure = None  # their tracebacks hold this frame


def _learn_route(exchange: Exchange, route: Route, refused: APIStatusError) -> None:
    exchange.facts.learn("route", route, f"HTTP {refused.status_code} on the usual one", lasts=RELEARN)
    logger.info("The target answers on %s of %s, which is used from now on (%s).", *route, exchange.place)


def _follow_dedicated(exchange: Exchange, said: Said, identity: Identity) -> None:
    """Go on at the endpoint's own host, where the service refuses the shared one and names that."""
    host = dedicated_dns(said)
    named = parse_dedicated_dns(host) if host is not None else None
    target = exchange.target
    if named is None or target.host is not None or target.emulator:
        return
    if (named.endpoint_id, named.location) == (target.endpoint_id, target.location):
        exchange.target = target.with_dedicated_dns(host, identity.universe_domain)
        exchange.facts.learn("dedicated_dns", host, f"HTTP {said.status} on the shared host")
        raise Retry("the shared host")


def _find_model(exchange: Exchange, identity: Identity) -> Steps[None]:
    """Ask a server of the user's own once which model it has; if that cannot be told, it decides for itself."""
    facts = exchange.facts
    if not facts.knows("model"):
        url = exchange.target.models_url
        headers = identity.added_to(exchange.headers, accept="application/json")
        head = yield from _send(exchange, Request("GET", url, headers, None))
        name = None
        if head.status == 200 and "json" in head.headers.get("content-type", ""):
            with suppress(ValueError):
                name = _only_model((yield from read_json(exchange)))
        elif head.status in (401, 403, 429) or head.status >= 500:
            raise (yield from refusal(exchange, head))
        facts.learn("model", name, f"GET {url}", lasts=RELEARN)
    name = facts.value("model")
    if name:
        exchange.ask_for(name)


def _only_model(listed: Any) -> str | None:
    """The model in a server's list, if there is one, or one Kimi among them."""
    items = listed.get("data") if isinstance(listed, Mapping) else None
    names = [item.get("id") for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    texts = [name for name in names if isinstance(name, str) and name and name.isprintable()]
    kimis = [name for name in texts if "kimi" in name.lower()]
    found = texts if len(texts) == 1 else kimis
    return found[0] if len(found) == 1 else None


def _send(exchange: Exchange, request: Request) -> Steps[Head]:
    exchange.head, exchange.url = None, request.url
    # The user's own id wins.
    headers = Hidden({"x-request-id": exchange.attempt_id, **request.headers.reveal()})
    exchange.head = yield from send(exchange, replace(request, headers=headers), exchange.sent)
    return exchange.head


def _discover(exchange: Exchange, identity: Identity) -> Steps[Target]:
    """Ask once for the endpoint's own host name.

    Where the account may not read the endpoint, the shared host is tried: the answer then says what is wrong.
    """
    url = exchange.target.discovery_url(identity.universe_domain)
    facts = exchange.facts
    if facts.knows("dedicated_dns"):
        return exchange.target.with_dedicated_dns(facts.value("dedicated_dns"))
    headers = identity.added_to(exchange.headers, accept="application/json")
    head = yield from _send(exchange, Request("GET", url, headers, None))
    if head.status != 200:
        if head.status in (401, 429) or head.status >= 500:
            raise (yield from refusal(exchange, head))
        yield from refusal(exchange, head)
        exchange.lookup_refused = head.status
        logger.info(
            "Could not look up the endpoint's host name (HTTP %s); trying the shared one.", head.status
        )
        return exchange.target.with_dedicated_dns(None)
    resource = None
    with suppress(ValueError):
        resource = yield from read_json(exchange)
    dns = resource.get("dedicatedEndpointDns") if isinstance(resource, Mapping) else None
    target = exchange.target.with_dedicated_dns(dns or None, identity.universe_domain)
    facts.learn("dedicated_dns", dns or None, f"GET {url}")
    return target


def _check_size(content: bytes, target: Target) -> None:
    limit = target.payload_limit
    if limit is not None and len(content) > limit:
        raise InvalidRequestError(
            f"The request has {len(content):,} bytes; {target.describe()} takes {limit:,} at most "
            "(1.5 MB on a shared endpoint, 10 MB on a dedicated or private one). Shorten the conversation."
        )
