"""Writes the OpenAPI document of the REST API from the contract: `python -m tools.openapi OUT`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from contract import descriptors
from contract.descriptors import Contract
from contract.methods import Method
from envoy.settings import Allowances
from tools import openapi_errors, openapi_headers
from tools.openapi_schemas import REF, WELL_KNOWN, Node, Schemas, camel, never_sent
from tools.paths import GEN, IMAGE

DOCUMENT = GEN / "openapi" / "openapi.yaml"
FRAME = Path(__file__).with_name("openapi_base.yaml")
EXAMPLES = Path(__file__).with_name("openapi_examples.yaml")
HEADER = "# Generated from protos/ by `make proto`; never edited.\n"
READ_FIRST = ("auth", "todo", "recurrence", "pomodoro", "calendar", "notification", "history", "audit")
"""The services in the order in which people need them; others follow."""
FIRST_SENTENCE = re.compile(r"[^\n]+?\.(?=\s|$)")
PATH_VARIABLE = re.compile(r"\{(\w+)\}")


class Readable(yaml.SafeDumper):
    """Writes long text as blocks and everything in full, for people who read the file."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (yaml calls it so)
        """Never an anchor."""
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _block)


def nodes(tree: Any) -> Iterator[Node]:
    """Every object of a document, the outer before the inner."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


def references(tree: Any) -> set[str]:
    """Names of the schemas that a piece of a document refers to."""
    found = (node.get("$ref") for node in nodes(tree))
    return {name.removeprefix(REF) for name in found if isinstance(name, str) and name.startswith(REF)}


class Document:
    """The document of one contract."""

    def __init__(self, described: Contract) -> None:
        self._contract = described
        self._schemas = Schemas(described)
        self._errors = openapi_errors.Errors(described, self._schemas.prose)
        self._examples: Node = yaml.safe_load(EXAMPLES.read_text())
        self._bodies: Node = {}
        """Requests without what is in their path."""

    def build(self) -> Node:
        """The whole document."""
        document: Node = yaml.safe_load(FRAME.read_text())
        info = document["info"]
        info["description"] = info["description"].format(**_allowances())
        info["description"] += "\n" + self._schemas.prose(openapi_errors.of_other_paths(self._contract))
        routed = [rpc for rpc in self._contract.rpcs if rpc.verb]
        paths: Node = {}
        for rpc in sorted(routed, key=lambda rpc: rpc.path):
            path = PATH_VARIABLE.sub(lambda found: f"{{{camel(found[1])}}}", rpc.path)
            paths.setdefault(path, {})[rpc.verb.lower()] = self._operation(rpc)
        document["components"] |= {
            "schemas": self._components([paths, self._errors.shared], paths),
            "responses": self._errors.shared,
            "parameters": openapi_headers.PARAMETERS,
            "headers": openapi_headers.COMPONENTS,
        }
        in_order = sorted(routed, key=lambda rpc: (_place(rpc.owner), rpc.file))
        services = {rpc.service: self._contract.services[rpc.full_service] for rpc in in_order}
        tags = [{"name": name, "description": self._schemas.prose(comment)} for name, comment in services.items()]
        return {**document, "paths": paths, "tags": tags}

    def _operation(self, rpc: Method) -> Node:
        parameters = [*self._parameters(rpc), *openapi_headers.parameters(self._contract, rpc)]
        success = {"schema": {"$ref": REF + rpc.response}}
        responses = {
            "200": {
                "description": self._schemas.prose(self._contract.messages[rpc.response].comment),
                **openapi_headers.of_response(self._contract, rpc),
                "content": _json(success),
            }
        }
        return {
            "tags": [rpc.service],
            **self._told(rpc),
            "operationId": f"{rpc.service}_{rpc.name}",
            **({"parameters": parameters} if parameters else {}),
            **self._body(rpc),
            "responses": responses | self._errors.responses(rpc),
            "security": [] if rpc.access == "PUBLIC" else [{"bearer": [rpc.scope] if rpc.scope else []}],
            "x-rpc": rpc.full_name,
            "x-rate-class": rpc.rate,
            "x-deadline-seconds": rpc.deadline_seconds,
        }

    def _told(self, rpc: Method) -> Node:
        """The first sentence as the summary, the others as the description."""
        comment = self._schemas.prose(rpc.comment)
        summary = FIRST_SENTENCE.match(comment)
        told = summary[0] if summary else comment
        rest = comment.removeprefix(told).strip()
        return {"summary": told.rstrip("."), **({"description": rest} if rest else {})}

    def _parameters(self, rpc: Method) -> list[Node]:
        """The variables of the path and, where there is no body, every other field."""
        message, variables = self._contract.messages[rpc.request], PATH_VARIABLE.findall(rpc.path)
        found = []
        for field in message.descriptor.field:
            if field.name in variables or rpc.body not in ("*", field.name):
                schema = self._schemas.field(message, field, nullable=False)
                where = "path" if field.name in variables else "query"
                parameter = {"name": camel(field.name), "in": where, "description": schema.pop("description")}
                found.append(parameter | ({"required": True} if where == "path" else {}) | {"schema": schema})
        return found

    def _body(self, rpc: Method) -> Node:
        if not rpc.body:
            return {}
        message, variables = self._contract.messages[rpc.request], PATH_VARIABLE.findall(rpc.path)
        if rpc.body != "*":
            return {"requestBody": {"description": message.field_comments[rpc.body], "content": {"*/*": {}}}}
        name, body = rpc.request, self._schemas.message(message, without=variables)
        if variables:
            name += "Body"
            self._bodies[name] = body | {"title": f"{body['title']}Body"}
        # No body is `{}`.
        required = "required" in body
        content: Node = {"schema": {"$ref": REF + name}}
        if rpc.request in self._examples:
            content["example"] = self._examples[rpc.request]
        return {"requestBody": {"content": _json(content), "required": required}}

    def _components(self, used_by: Any, paths: Node) -> Node:
        """The schemas that something refers to, also through others."""
        own = openapi_errors.schemas() | WELL_KNOWN | self._bodies
        found: Node = {}
        fresh = references(used_by)
        while fresh:
            found |= {name: own.get(name) or self._schema(name) for name in fresh}
            fresh = references([found[name] for name in fresh]) - found.keys()
        responses = [operation["responses"] for path in paths.values() for operation in path.values()]
        self._drop_zero(found, _reachable(responses, found))
        return dict(sorted(found.items()))

    def _schema(self, name: str) -> Node:
        if name in self._contract.enums:
            return self._schemas.enum(name)
        return self._schemas.message(self._contract.messages[name])

    def _drop_zero(self, schemas: Node, responded: set[str]) -> None:
        """Drops the value for `unspecified` where it is never sent, and of enums that only requests have."""
        for name in schemas.keys() & self._contract.enums.keys():
            enum = self._contract.enums[name]
            zero = enum.descriptor.value[0].name
            if name not in responded or never_sent(enum, zero):
                schemas[name]["enum"].remove(zero)


def _place(owner: str) -> int:
    return READ_FIRST.index(owner) if owner in READ_FIRST else len(READ_FIRST)


def _reachable(tree: Any, schemas: Node) -> set[str]:
    found: set[str] = set()
    fresh = references(tree)
    while fresh:
        found |= fresh
        fresh = references([schemas[name] for name in fresh]) - found
    return found


def _allowances() -> dict[str, str]:
    """The gateway's allowances as they are set, such as `60 then 30/s`."""
    periods = {1: "s", 60: "min"}
    return {
        name: f"{bucket.burst} then {bucket.refill}/{periods[bucket.per_seconds]}"
        for name, bucket in Allowances()._asdict().items()
    }


def _json(content: Node) -> Node:
    return {"application/json": content}


def text(document: Node) -> str:
    """A document as the file holds it."""
    return HEADER + yaml.dump(document, Dumper=Readable, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text(Document(descriptors.load(IMAGE)).build()))
