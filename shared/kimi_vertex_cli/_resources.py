"""Vertex AI's endpoints, as far as they concern whoever looks for a Kimi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from kimi_vertex import APIError, KimiVertexClient

__all__ = ["REGIONS", "Endpoint", "describe", "find", "list_endpoints", "listed"]

REGIONS: Final = (
    *(
        "us-central1",
        "us-east1",
        "us-east4",
        "us-east5",
        "us-south1",
        "us-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    ),
    *("europe-west1", "europe-west2", "europe-west3", "europe-west4", "europe-west6", "europe-north1"),
    *("asia-east1", "asia-northeast1", "asia-northeast3", "asia-south1", "asia-southeast1"),
    *("australia-southeast1", "me-central2", "northamerica-northeast1", "southamerica-east1"),
)
"""Where machines for large models can be had, among others; looked through where no region is known.

https://cloud.google.com/vertex-ai/docs/general/locations (2026)
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint."""

    name: str
    """`projects/P/locations/R/endpoints/ID`."""
    display_name: str
    host: str
    """Its own host name; empty if it has none."""
    model: str
    """The display name of what is deployed; empty if nothing is."""
    resource: str
    """The resource name of what is deployed."""
    machine: str
    state: str
    """In words."""
    ready: bool | None
    """Whether there is a replica; `None` if that is not said."""
    kimi: bool
    arguments: tuple[str, ...] = ()
    """What the container was started with, if it was looked up."""

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def location(self) -> str:
        """The region."""
        return self.name.split("/")[3]

    @property
    def use(self) -> str:
        """The line after which every client and command speaks to it."""
        return f"export KIMI_VERTEX_ENDPOINT={self.name}"


def read(resource: Mapping[str, Any]) -> Endpoint:
    """Read an endpoint's resource."""
    deployed: Mapping[str, Any] = next(iter(resource.get("deployedModels") or ()), {})
    machines = deployed.get("dedicatedResources") or {}
    spec = machines.get("machineSpec") or {}
    available = (deployed.get("status") or {}).get("availableReplicaCount")
    least, most = machines.get("minReplicaCount"), machines.get("maxReplicaCount")
    if not deployed:
        state, ready = "no model is deployed", False
    elif available:
        state, ready = f"{available} of {most or available} replicas", True
    elif available == 0:
        state, ready = ("scaled to zero" if least == 0 else "no replica is up"), False
    else:
        state, ready = "deployed", None
    texts = (resource.get("displayName"), deployed.get("displayName"), deployed.get("model"))
    count = spec.get("acceleratorCount")
    chips = f" ({count} x {spec.get('acceleratorType')})" if count else ""
    return Endpoint(
        name=str(resource.get("name") or ""),
        display_name=str(resource.get("displayName") or ""),
        host=str(resource.get("dedicatedEndpointDns") or "").removeprefix("https://"),
        model=str(deployed.get("displayName") or ""),
        resource=str(deployed.get("model") or ""),
        machine=f"{spec.get('machineType')}{chips}" if spec.get("machineType") else "",
        state=state,
        ready=ready,
        kimi=bool(deployed) and _is_kimi(texts),
    )


def describe(client: KimiVertexClient, endpoint: Endpoint) -> Endpoint:
    """Look up the container of what is deployed; where that is refused, the endpoint stays as it is."""
    if not endpoint.resource:
        return endpoint
    try:
        model = client.get(endpoint.resource)
    except APIError:
        return endpoint
    container = model.get("containerSpec") or {}
    arguments = tuple(
        str(part) for part in (*(container.get("command") or ()), *(container.get("args") or ()))
    )
    source = str(model.get("baseModelSource") or "")
    kimi = endpoint.kimi or _is_kimi((model.get("displayName"), source, *arguments))
    return replace(endpoint, arguments=arguments, kimi=kimi)


def listed(client: KimiVertexClient, project: str, location: str) -> Iterator[Endpoint]:
    """The endpoints of one region, page by page.

    Raises:
        APIError: The list was refused.
    """
    token: str | None = ""
    while token is not None:
        query = {"pageSize": 100, **({"pageToken": token} if token else {})}
        page = client.get(f"projects/{project}/locations/{location}/endpoints", **query)
        yield from map(read, page.get("endpoints") or ())
        token = page.get("nextPageToken") or None


def list_endpoints(client: KimiVertexClient, project: str, locations: Sequence[str]) -> list[Endpoint]:
    """The endpoints of several regions, with what their containers tell.

    Raises:
        APIError: No region gave a list; the first one's reason.
    """

    def of(location: str) -> list[Endpoint] | APIError:
        try:
            found = list(listed(client, project, location))
        except APIError as error:
            return error
        return [endpoint if endpoint.kimi else describe(client, endpoint) for endpoint in found]

    first = of(locations[0])
    with ThreadPoolExecutor(8) as pool:
        outcomes = [first, *pool.map(of, locations[1:])]
    if isinstance(first, APIError) and all(isinstance(outcome, APIError) for outcome in outcomes):
        raise first
    return [endpoint for outcome in outcomes if isinstance(outcome, list) for endpoint in outcome]


def find(client: KimiVertexClient, project: str, endpoint_id: str) -> Endpoint | None:
    """Look for an endpoint by its id, in all regions."""

    def at(location: str) -> Endpoint | None:
        try:
            return read(client.get(f"projects/{project}/locations/{location}/endpoints/{endpoint_id}"))
        except APIError:
            return None

    with ThreadPoolExecutor(8) as pool:
        return next((endpoint for endpoint in pool.map(at, REGIONS) if endpoint is not None), None)


def _is_kimi(texts: Sequence[str | None]) -> bool:
    return any(word in (text or "").lower() for text in texts for word in ("kimi", "moonshot"))
