"""services.toml, read once and checked: which services there are, where they listen, what they own and publish."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stack.errors import StackError
from stack.layout import PORTS

REGISTRY_FILE = Path(__file__).resolve().parent.parent / "services.toml"
MOST_REPLICAS = 4
TARGET = "machine"
"""Where the stack runs; services.toml has the partitions of a topic for each target."""
DEAD_LETTER_PARTITIONS = 1


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service; ports are offsets from the port base."""

    name: str
    port: int
    websocket_port: int | None = None
    http_port: int | None = None
    schema: str | None = None
    cold_schema: str | None = None
    publishes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    replicas: int = 1

    def dead_letter_topics(self) -> tuple[str, ...]:
        """Where its consumer group puts what it cannot apply."""
        return tuple(f"{topic}.{self.name}.dlq" for topic in self.consumes)


@dataclass(frozen=True)
class Registry:
    """All services, by name, and the partitions of every topic that they use."""

    services: Mapping[str, Service]
    topics: Mapping[str, int]

    def service(self, name: str) -> Service:
        """The service called `name`; raises ValueError that lists the ones there are."""
        if name not in self.services:
            raise ValueError(f"there is no service {name!r}; there are: {', '.join(self.services)}")
        return self.services[name]

    def with_schema(self) -> tuple[Service, ...]:
        """The services that own tables."""
        return tuple(service for service in self.services.values() if service.schema)

    def all_topics(self) -> dict[str, int]:
        """Every topic with its partitions, dead-letter topics included."""
        dead = {
            topic: DEAD_LETTER_PARTITIONS
            for service in self.services.values()
            for topic in service.dead_letter_topics()
        }
        return {**self.topics, **dead}


def parse(text: str, target: str = TARGET) -> Registry:
    """The registry that a TOML text describes, for a target; raises ValueError that names the contradiction."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    topics = _topics(tables.pop("topics", {}), target)
    services = {name: _service(name, table) for name, table in tables.items()}
    _check_ports(services)
    for service in services.values():
        unknown = set(service.publishes + service.consumes) - set(topics)
        if unknown:
            raise ValueError(f"{service.name} uses topics that [topics] does not have: {', '.join(sorted(unknown))}")
        unknown = set(service.calls) - set(services)
        if unknown:
            raise ValueError(f"{service.name} calls services that there are not: {', '.join(sorted(unknown))}")
        if service.name in service.calls:
            raise ValueError(f"{service.name} calls itself")
    return Registry(services, topics)


@cache
def load(path: Path = REGISTRY_FILE) -> Registry:
    """The repository's registry. Raises StackError."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StackError(f"{path.name}: {error}", advice="fix it; its first lines say what belongs there") from None


def _topics(table: Mapping[str, Any], target: str) -> dict[str, int]:
    partitions = table.get("partitions", {})
    if target not in partitions:
        raise ValueError(f"[topics] partitions has no number for {target!r}; it has: {', '.join(partitions)}")
    return dict.fromkeys(table.get("names", ()), int(partitions[target]))


def _service(name: str, table: Mapping[str, Any]) -> Service:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        service = Service(name=name, **values)
    except TypeError as error:
        raise ValueError(f"[{name}] does not read as a service: {error}") from None
    if not 1 <= service.replicas <= MOST_REPLICAS:
        raise ValueError(f"[{name}] replicas is {service.replicas}; 1 to {MOST_REPLICAS} fit between two ports")
    return service


def _check_ports(services: Mapping[str, Service]) -> None:
    taken: dict[int, str] = {}
    for service in services.values():
        for first in filter(None, (service.port, service.websocket_port, service.http_port)):
            if first + MOST_REPLICAS > PORTS:
                raise ValueError(f"{service.name} claims port offset {first}; a stack has {PORTS} for all its replicas")
            for offset in range(first, first + MOST_REPLICAS):
                if offset in taken:
                    raise ValueError(f"{service.name} and {taken[offset]} both claim port offset {offset}")
                taken[offset] = service.name
