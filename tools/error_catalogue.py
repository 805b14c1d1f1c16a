"""The errors that the code declares, and their HTTP statuses."""

import importlib
import inspect
from collections import defaultdict

from grpc import StatusCode

from mesh.rpc.status import STATUS
from mesh.runtime.errors import ServiceError
from tools.paths import ROOT

SHARED_DOMAIN = "focusmesh"
# The HTTP status to which the gateway maps a gRPC code.
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
    """The services that declare errors of their own."""
    return sorted(path.parent.name for path in (ROOT / "services").glob("*/errors.py"))


def declared(module_name: str) -> list[type[ServiceError]]:
    """The errors that a module declares: classes with a reason of their own."""
    module = importlib.import_module(module_name)
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, ServiceError) and value.__module__ == module_name and "reason" in vars(value)
    ]


def catalogue() -> dict[str, list[type[ServiceError]]]:
    """Every error, by its domain."""
    found: dict[str, list[type[ServiceError]]] = defaultdict(list)
    for error in declared("mesh.runtime.errors"):
        found[SHARED_DOMAIN].append(error)
    for service in service_names():
        for error in declared(f"services.{service}.errors"):
            found[error.domain or f"{service}.{SHARED_DOMAIN}"].append(error)
    return dict(found)


def http_status(error: type[ServiceError]) -> int:
    """The HTTP status of an error's kind."""
    return HTTP_STATUS[next(STATUS[kind] for kind in error.__mro__ if kind in STATUS)]


def statuses() -> dict[tuple[str, str], set[int]]:
    """HTTP statuses by domain and reason; a reason may have several."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for domain, errors in catalogue().items():
        for error in errors:
            found[domain, error.reason].add(http_status(error))
    return found
