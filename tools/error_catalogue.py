"""Which refusals exist in code, and how REST callers see them."""

import importlib
import inspect
from collections import defaultdict

from grpc import StatusCode

from mesh.rpc.status import STATUS
from mesh.runtime.errors import ServiceError
from tools.paths import ROOT

SHARED_DOMAIN = "focusmesh"
# What the gateway makes of a gRPC code.
HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


def service_names() -> list[str]:
    """The services that have refusals of their own."""
    return sorted(path.parent.name for path in (ROOT / "services").glob("*/errors.py"))


def declared(module_name: str) -> list[type[ServiceError]]:
    """The refusals that a module defines: classes with a reason of their own."""
    module = importlib.import_module(module_name)
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, ServiceError) and value.__module__ == module_name and "reason" in vars(value)
    ]


def catalogue() -> dict[str, list[type[ServiceError]]]:
    """Every refusal by the domain that it is sent with."""
    found: dict[str, list[type[ServiceError]]] = defaultdict(list)
    for refusal in declared("mesh.runtime.errors"):
        found[SHARED_DOMAIN].append(refusal)
    for service in service_names():
        for refusal in declared(f"services.{service}.errors"):
            found[refusal.domain or f"{service}.{SHARED_DOMAIN}"].append(refusal)
    return dict(found)


def http_status(refusal: type[ServiceError]) -> int:
    """The HTTP status of a refusal's kind."""
    return HTTP_STATUS[next(STATUS[kind] for kind in refusal.__mro__ if kind in STATUS)]


def statuses() -> dict[tuple[str, str], set[int]]:
    """HTTP statuses by domain and reason; one reason may come with more than one."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for domain, refusals in catalogue().items():
        for refusal in refusals:
            found[domain, refusal.reason].add(http_status(refusal))
    return found
