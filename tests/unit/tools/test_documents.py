"""Documents tell readers the ports that `make up` takes."""

import re

import pytest

from stack import registry
from stack.layout import DEFAULT_PORT_BASE, Ports
from tools.doc_paths import documents
from tools.paths import ROOT

PORTS = Ports(DEFAULT_PORT_BASE)
SERVICES = {PORTS.service(service.port) for service in registry.load().services.values()}
# Port 1 stands for an address where nobody listens.
ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|localhost):(\d{2,5})\b")


def named(pattern: str | re.Pattern[str]) -> list[tuple[str, int]]:
    """Every port that a document names so, with the document."""
    return [(path.name, int(port)) for path in documents(ROOT) for port in re.findall(pattern, path.read_text())]


@pytest.mark.parametrize(
    ("default", "port"),
    [
        (r"API=\$\{API:-http://127\.0\.0\.1:(\d+)\}", PORTS.gateway),
        (r"TARGET=\$\{TARGET:-127\.0\.0\.1:(\d+)\}", PORTS.gateway),
        (r"grpcurl [^\n]* 127\.0\.0\.1:(\d+) ", PORTS.gateway),
        (r'\bname: brokers, value: "127\.0\.0\.1:(\d+)"', PORTS.kafka),
    ],
    ids=["REST", "gRPC", "grpcurl", "Kafka"],
)
def test_a_default_of_the_documents_is_where_the_stack_listens(default: str, port: int) -> None:
    assert {found for _, found in named(default)} == {port}


def test_every_address_in_a_document_is_one_of_the_stack() -> None:
    known = {PORTS.gateway, PORTS.kafka} | SERVICES
    assert [(name, port) for name, port in named(ADDRESS) if port not in known] == []
