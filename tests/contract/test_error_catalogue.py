"""Every error in code has a published reason, and every published reason can be met."""

import ast
from functools import cache
from pathlib import Path

import pytest

from contract.descriptors import GATEWAY_REASONS, SHARED_REASONS
from envoy.responses import RESPONSES
from mesh.runtime.errors import ServiceError
from tools import error_catalogue, generate
from tools.error_catalogue import SHARED_DOMAIN
from tools.paths import ROOT

CATALOGUE = error_catalogue.catalogue()
CONTRACT = generate.contract()
ERRORS = [error for errors in CATALOGUE.values() for error in errors]


def package_of(domain: str) -> str:
    """The package whose ErrorReason has the reasons of a domain."""
    service = domain.removesuffix(f".{SHARED_DOMAIN}")
    return SHARED_REASONS if domain == SHARED_DOMAIN else f"{SHARED_DOMAIN}.{service}.v1"


@cache
def names_used(folder: Path) -> frozenset[str]:
    """Every name that the code of a folder uses, but for what its errors.py defines."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        if path.name != "errors.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Name):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute):
                    found.add(node.attr)
    return frozenset(found)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_an_error_is_raised_somewhere(error: type[ServiceError]) -> None:
    parts = error.__module__.split(".")
    folders = [ROOT / "mesh", ROOT / "services"] if parts[0] == "mesh" else [ROOT.joinpath(*parts[:-1])]
    assert any(error.__name__ in names_used(folder) for folder in folders)


@pytest.mark.parametrize("domain", CATALOGUE)
def test_the_published_reasons_are_those_of_the_errors(domain: str) -> None:
    published = CONTRACT.reasons[package_of(domain)].keys()
    assert published == {error.reason for error in CATALOGUE[domain]}


def test_every_service_with_reasons_has_errors() -> None:
    owners = {package_of(domain) for domain in CATALOGUE}
    assert CONTRACT.reasons.keys() == owners | {GATEWAY_REASONS}


def test_the_published_reasons_of_the_gateway_are_those_of_its_responses() -> None:
    assert CONTRACT.reasons[GATEWAY_REASONS].keys() == {response.reason for response in RESPONSES}


@pytest.mark.parametrize("package", sorted(CONTRACT.reasons.keys() - {SHARED_REASONS, GATEWAY_REASONS}))
def test_a_reason_is_listed_by_an_rpc_or_met_on_the_websocket_alone(package: str) -> None:
    listed = {reason for rpc in CONTRACT.rpcs if rpc.package == package for reason in rpc.errors or ()}
    meanings = CONTRACT.reasons[package]
    assert [reason for reason, text in meanings.items() if reason not in listed and "WebSocket" not in text] == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_an_error_is_of_a_kind_that_has_a_status(error: type[ServiceError]) -> None:
    assert error_catalogue.http_status(error) in range(400, 600)
