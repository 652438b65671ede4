"""Parsing and checking of the names that users write into settings: projects, locations, endpoints, models.

Pure functions. Each raises `ConfigurationError` with the setting's name and what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from kimi_vertex._text import shown
from kimi_vertex.errors import ConfigurationError
from kimi_vertex.models import MANAGED_MODEL

__all__ = [
    "EndpointName",
    "check_endpoint_id",
    "check_location",
    "check_managed_model",
    "check_model_text",
    "check_project",
    "check_text",
    "parse_dedicated_dns",
    "parse_resource_name",
    "same_project",
]

_RESOURCE_FORM: Final = "projects/PROJECT/locations/REGION/endpoints/ID"
# Google asks for six characters at least; that is left to Google, because stand-ins have shorter names.
_PROJECT_ID: Final = re.compile(
    r"(?:[a-z0-9][a-z0-9.-]*\.[a-z]{2,}:)?[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?|[0-9]{1,19}"
)
_LOOSE_PROJECT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
_LOCATION: Final = re.compile(r"[a-z]+(?:-[a-z]+)*[0-9]*")
_ZONE: Final = re.compile(r"([a-z]+-[a-z]+[0-9]+)-[a-z]")
# Google's own ids are numbers; those that Model Garden's one-click deployment makes are not.
_ENDPOINT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MANAGED_MODEL: Final = re.compile(r"[a-z0-9][a-z0-9-]*/[A-Za-z0-9][A-Za-z0-9._@-]*")
_RESOURCE_NAME: Final = re.compile(r"projects/([^/]+)/locations/([^/]+)/endpoints/([^/]+)")
_DEDICATED_DNS: Final = re.compile(
    r"([a-z0-9-]+)\.([a-z]+-[a-z]+[0-9]+)-([a-z0-9][a-z0-9-]*)\.prediction\.vertexai\.goog"
)
_AREAS: Final = ("africa", "asia", "australia", "europe", "me", "northamerica", "southamerica", "us")
_SIDES: Final = (
    *("central", "east", "north", "northeast", "northwest"),
    *("south", "southeast", "southwest", "west"),
)
_EXAMPLES: Final = {
    "africa": "africa-south1",
    "asia": "asia-east1",
    "australia": "australia-southeast1",
    "europe": "europe-west4",
    "me": "me-west1",
    "northamerica": "northamerica-northeast1",
    "southamerica": "southamerica-east1",
}
# Letters that are taken for digits, in ids that are copied by eye.
_LOOKALIKES: Final = {"o": "0", "i": "1", "l": "1", "s": "5", "b": "8", "z": "2"}


@dataclass(frozen=True, slots=True)
class EndpointName:
    """The three parts of an endpoint's resource name."""

    project: str
    location: str
    endpoint_id: str


def check_project(value: str, setting: str, *, strict: bool) -> str:
    """Return a project id, a domain-scoped one, or a project number; the form is free if not `strict`."""
    pattern = _PROJECT_ID if strict else _LOOSE_PROJECT_ID
    if pattern.fullmatch(value):
        return value
    hint = "An id has 6 to 30 lower-case letters, digits and hyphens; `gcloud projects list` shows yours."
    if value.startswith("projects/"):
        hint = "Leave out the part projects/."
    raise ConfigurationError(f"{setting}={shown(value)} is not a Google Cloud project id or number. {hint}")


def same_project(one: str, other: str) -> bool:
    """Whether two names may mean one project: a number and an id cannot be compared."""
    return one == other or one.isdigit() != other.isdigit()


def check_location(value: str, setting: str, *, within: str = "{}") -> str:
    """Return a region, `us`, `eu` or `global`.

    Args:
        within: What it is a part of, with `{}` in its place: the one that is meant is shown there.

    Raises:
        ConfigurationError: It is not a location.
    """
    if zone := _ZONE.fullmatch(value):
        raise ConfigurationError(f"{setting}={shown(value)} is a zone. Use its region, {zone[1]}.")
    if _LOCATION.fullmatch(value):
        meant = _region_meant(value) or (_EXAMPLES.get(value) if value in _AREAS and value != "us" else None)
        if meant is None:
            return value
    else:
        lower = value.strip().lower().replace("_", "-").replace(" ", "-")
        meant = lower if _LOCATION.fullmatch(lower) else None
    whole = within.replace("{}", meant or "")
    hint = f" Did you mean {whole!r}?" if meant else ""
    raise ConfigurationError(
        f"{setting}={shown(value)} is not a Google Cloud location.{hint} "
        'Use "global", "us", "eu" or a region such as "us-central1".'
    )


def _region_meant(value: str) -> str | None:
    """The region that a misspelt one is close to. Regions that are new are not refused: their words are known."""
    found = re.fullmatch(r"([a-z]+)-([a-z]+)([0-9]*)", value)
    if found is None:
        return None
    area, side, number = found.groups()
    if not number and side.endswith("l") and side[:-1] in _SIDES:
        side, number = side[:-1], "1"  # the letter for the digit
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    near_area = (
        get_close_matches(area, _AREAS, 1, 0.75) if len(area) > 2 else [a for a in _AREAS if a == area]
    )
    near_side = get_close_matches(side, _SIDES, 1, 0.8)
    if not near_area or not near_side:
        return None
    meant = f"{near_area[0]}-{near_side[0]}{number or 1}"
    return None if meant == value else meant


def check_endpoint_id(value: str, setting: str) -> str:
    """Return the id of an endpoint that the user deployed."""
    if value == "openapi":
        raise ConfigurationError(
            f"{setting}='openapi' is the managed service's own path. Leave {setting} out and pass model=."
        )
    odd = [(place, sign) for place, sign in enumerate(value, 1) if not sign.isdecimal()]
    almost_number = len(value) >= 6 and 0 < len(odd) <= 2 and "-" not in value
    if _ENDPOINT_ID.fullmatch(value) and not almost_number:
        return value
    if parse_dedicated_dns(value):
        hint = f"This is its host name: pass it as endpoint_host= instead of {setting}."
    elif almost_number:
        place, sign = odd[0]
        digit = _LOOKALIKES.get(sign.lower())
        meant = f" (a {digit}?)" if digit else ""
        hint = f"Its character {place}, {sign!r}, is not a digit{meant}."
    elif " " in value or not _ENDPOINT_ID.fullmatch(value.lower()):
        hint = (
            "A display name? `gcloud ai endpoints list --region=REGION` shows the ids. The full form is "
            f"{_RESOURCE_FORM}."
        )
    else:
        hint = f"Ids are digits, or in lower case; the full form is {_RESOURCE_FORM}."
    raise ConfigurationError(f"{setting}={shown(value)} is not an endpoint id. {hint}")


def parse_resource_name(value: str, setting: str) -> EndpointName:
    """Split `projects/P/locations/R/endpoints/ID` and check its parts."""
    if "://" in value:
        raise ConfigurationError(
            f"{setting} is a URL. Pass an endpoint's resource name {_RESOURCE_FORM} here, or the URL as base_url=."
        )
    found = _RESOURCE_NAME.fullmatch(value.strip("/"))
    if found is None and "/models/" in value:
        publisher = "publishers/" in value
        raise ConfigurationError(
            f"{setting} names a model, not an endpoint: "
            + (
                f"pass model={shown('/'.join(value.split('/')[-3::2]))} instead"
                if publisher
                else "`gcloud ai endpoints list` shows what it is deployed on"
            )
            + f". An endpoint is named {_RESOURCE_FORM}."
        )
    if found is None:
        raise ConfigurationError(
            f"{setting}={shown(value)} is not an endpoint. Pass its full resource name {_RESOURCE_FORM}, or its id "
            "together with project= and location=."
        )
    return EndpointName(
        check_project(found[1], f"{setting} (its project)", strict=False),
        check_location(
            found[2],
            f"{setting} (its location)",
            within=f"projects/{found[1]}/locations/{{}}/endpoints/{found[3]}",
        ),
        check_endpoint_id(found[3], setting),
    )


def check_managed_model(value: str) -> str:
    """Return a model id of the managed service, which is always `publisher/model`."""
    if _MANAGED_MODEL.fullmatch(value):
        return value
    found = re.fullmatch(r"(?:.*/)?publishers/([^/]+)/models/([^/]+)", value)
    if found:
        hint = f"Use {found[1]}/{found[2]}."
    elif "thinking" in value.lower() and "/" not in value:
        hint = f"Did you mean {MANAGED_MODEL}? A model that you deployed yourself is reached with endpoint=."
    elif value and "/" not in value:
        hint = f"A Kimi that you deployed is reached with endpoint=; managed is {MANAGED_MODEL} alone."
    else:
        hint = f"For example {MANAGED_MODEL}."
    raise ConfigurationError(f"model={shown(value)} is not of the form publisher/model. {hint}")


def check_model_text(value: Any, setting: str = "model") -> str | None:
    """Return any model name for a server of the user's own; it may be empty or left out."""
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(
            f"{setting} is a {type(value).__name__}; it must be the model's name, a text."
        )
    if value is not None and not value.isprintable():
        raise ConfigurationError(f"{setting}={shown(value)} contains control characters.")
    return value


def check_text(value: Any, setting: str) -> str | None:
    """Return a setting that is text; a whole number is taken for an id."""
    if value is None or isinstance(value, str):
        # Blanks and quotes come along with what is copied from a shell or an .env file.
        names = setting in {"endpoint", "project", "location"}
        return value.strip(" \"'") if value is not None and names else value
    if isinstance(value, int) and not isinstance(value, bool) and setting in {"endpoint", "project"}:
        return shown(value)
    raise ConfigurationError(f"{setting} is a {type(value).__name__}; it must be a text.")


def parse_dedicated_dns(host: str) -> EndpointName | None:
    """Return what `ID.REGION-NUMBER.prediction.vertexai.goog` says about its endpoint.

    People write the project's id for its number, too: such a host does not exist, but says as much.
    """
    found = _DEDICATED_DNS.fullmatch(host.lower())
    return EndpointName(found[3], found[2], found[1]) if found else None
