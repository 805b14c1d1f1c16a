"""Turns the plugin's OpenAPI document into one that tells the truth and can be validated against.

usage: python -m tools.openapi_finish RAW OUT

The plugin gets the types right. It does not know the policy option or our errors, closes oneofs so that nothing
matches them, takes Duration for ISO 8601, prints rules that nobody set, and publishes what REST never carries.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tools import contract, openapi_errors, openapi_seal
from tools.contract import Contract, Message, Rpc

Node = dict[str, Any]
REF = "#/components/schemas/"
WELL_KNOWN: dict[str, Node] = {
    "google.protobuf.Timestamp": {
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339, such as `2026-01-31T08:30:00Z`; answers are in UTC.",
    },
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
        "description": "Seconds with the suffix `s`, such as `1500s`.",
    },
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Names of fields in camelCase, with commas between them, such as `title,dueTime`.",
    },
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True, "description": "Any JSON object."},
}
# Rules with a zero value that nobody set, printed for every rule of a time.
INVENTED = re.compile(r"^(?:timestamp|duration)\.\w+_\w+ = ")
RULE = re.compile(r"^([a-z_.]+) // (.+)$")
BOUND = re.compile(r"^(?:timestamp|duration)\.(\w+) = (.+)$")
BOUND_WORDS = {"gt": "After", "gte": "Not before", "lt": "Before", "lte": "Not after"}
PATH_VARIABLE = re.compile(r"\{(\w+)\}")


def camel(name: str) -> str:
    """A field's name in JSON."""
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


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
    """Names of the schemas that a part of a document refers to."""
    found = (node.get("$ref") for node in nodes(tree))
    return {name.removeprefix(REF) for name in found if isinstance(name, str) and name.startswith(REF)}


def reachable(tree: Any, schemas: Node) -> set[str]:
    """The schemas that a part of a document needs, also through others."""
    expected: set[str] = set()
    fresh = references(tree)
    while fresh:
        expected |= fresh
        fresh = references([schemas[name] for name in fresh]) - expected
    return expected


def open_oneof(node: Node) -> None:
    """A oneof comes as allOf beside `additionalProperties: false`, which nothing satisfies."""
    if "allOf" in node and node.get("additionalProperties") is False:
        del node["additionalProperties"]
        node["unevaluatedProperties"] = False


def _bound(rule: re.Match[str]) -> str:
    return f"{BOUND_WORDS[rule[1]]} {rule[2]}."


def clean_text(node: Node) -> None:
    """Drops invented rules, says what the others mean, and joins broken lines."""
    text = node.get("description")
    if isinstance(text, str):
        lines = [line for line in text.removeprefix("(IDENTIFIER) ").splitlines() if not INVENTED.match(line)]
        told = [RULE.sub(r"\n\nRule `\1`: \2.", BOUND.sub(_bound, line)) for line in lines]
        node["description"] = contract.paragraphs("\n".join(told))


def drop_zero(schemas: Node, described: Contract, answered: set[str]) -> None:
    """Drops enum values for `unspecified` that no answer has: those never sent, and all of enums that only come in."""
    for name, enum in described.enums.items():
        values = schemas.get(name, {}).get("enum", [])
        zero = enum.descriptor.value[0].name
        if zero in values and (name not in answered or enum.value_comments[zero].startswith("Never sent")):
            values.remove(zero)


def limit_masks(schema: Node, message: Message) -> None:
    """Says which names an update mask takes, as its rule `field_mask.in` does."""
    for field in message.descriptor.field:
        allowed = getattr(contract.field_rules(field).field_mask, "in")
        if allowed:
            names = "|".join(camel(name) for name in allowed)
            schema["properties"][camel(field.name)]["pattern"] = f"^({names})(,({names}))*$"


def describe_parameters(operation: Node, message: Message) -> None:
    """Gives parameters of well-known types the field's own comment, and path variables their JSON name."""
    comments = {camel(name): text for name, text in message.field_comments.items()}
    for parameter in operation.get("parameters", []):
        parameter["name"] = camel(parameter["name"])
        parameter["description"] = comments[parameter["name"]]
        if parameter["schema"].get("format") == "date-time":
            parameter["schema"] = {"$ref": f"{REF}google.protobuf.Timestamp"}


def finish_operation(operation: Node, rpc: Rpc, errors: openapi_errors.Errors, schemas: Node) -> None:
    """Adds what the plugin cannot know: security, error answers, and what the answer is."""
    described = errors.contract
    request = described.messages[rpc.request]
    describe_parameters(operation, request)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = content["schema"]
        limit_masks(schemas[body["$ref"].removeprefix(REF)] if "$ref" in body else body, request)
    operation["security"] = [] if rpc.access == "PUBLIC" else [{"bearer": [rpc.scope] if rpc.scope else []}]
    success = operation["responses"]["200"]
    success["description"] = described.messages[rpc.response].comment
    operation["responses"] = {"200": success, **errors.responses(rpc)}
    operation["summary"] = rpc.comment.partition(". ")[0].partition("\n")[0].rstrip(".")
    operation["description"] = rpc.comment
    operation["x-rpc"] = rpc.full_name
    operation["x-rate-class"] = rpc.rate
    operation["x-deadline-seconds"] = rpc.deadline_seconds


def finish_paths(document: Node, described: Contract) -> None:
    """Finishes every operation and drops what belongs to no RPC with a route."""
    errors, schemas = openapi_errors.Errors(described), document["components"]["schemas"]
    routes = {(rpc.path, rpc.verb.lower()): rpc for rpc in described.rpcs if rpc.verb}
    finished: Node = {}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            finish_operation(operation, routes.pop((path, verb)), errors, schemas)
        finished[PATH_VARIABLE.sub(lambda found: f"{{{camel(found[1])}}}", path)] = operations
    if routes:
        sys.exit(f"openapi: the plugin left out {sorted(routes)}")
    document["paths"] = finished
    document["components"]["responses"] = errors.shared
    tags = {rpc.service for rpc in described.rpcs if rpc.verb}
    document["tags"] = [tag for tag in document["tags"] if tag["name"] in tags]


def finish(document: Node, described: Contract) -> Node:
    """The whole document, finished."""
    repairs: tuple[Callable[[Node], None], ...] = (open_oneof, clean_text)
    for node in nodes(document):
        for repair in repairs:
            repair(node)
    schemas = document["components"]["schemas"]
    schemas.update(WELL_KNOWN)
    schemas.update(openapi_errors.schemas())
    finish_paths(document, described)
    answered = reachable([node.get("responses") for node in nodes(document["paths"])], schemas)
    drop_zero(schemas, described, answered)
    kept = reachable([document["paths"], document["components"]["responses"]], schemas)
    document["components"]["schemas"] = {name: schemas[name] for name in sorted(kept)}
    return document


def main() -> None:
    """Reads the plugin's document, writes the finished and sealed one."""
    raw, out = map(Path, sys.argv[1:])
    document = finish(yaml.safe_load(raw.read_text()), contract.load())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(openapi_seal.sealed(document))


if __name__ == "__main__":
    main()
