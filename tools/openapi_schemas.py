"""JSON Schemas of messages and enums as REST shows them: camelCase names, types, and the rules of `buf.validate`."""

import re
import sys
from collections.abc import Iterable
from typing import Any

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.message import Message as ProtoMessage

from contract.descriptors import Contract, Enum, Message, field_rules

Node = dict[str, Any]
Field = FieldDescriptorProto
REF = "#/components/schemas/"
WELL_KNOWN: dict[str, Node] = {
    "google.protobuf.Timestamp": {
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339, such as `2026-01-31T08:30:00Z`; responses are in UTC.",
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
TYPES: dict["Field.Type.ValueType", Node] = {
    Field.TYPE_STRING: {"type": "string"},
    Field.TYPE_BYTES: {"type": "string", "format": "byte"},
    Field.TYPE_BOOL: {"type": "boolean"},
    Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    Field.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    Field.TYPE_FLOAT: {"type": "number", "format": "float"},
    Field.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
KEYWORDS = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "const": "const",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
    "unique": "uniqueItems",
    "min_pairs": "minProperties",
    "max_pairs": "maxProperties",
}
FORMATS = {"email", "hostname", "ipv4", "ipv6", "uri", "uuid"}
NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_Rules = validate_pb2.FieldRules | validate_pb2.MessageRules
BOUNDS = {"gt": "After", "gte": "Not before", "lt": "Before", "lte": "Not after"}
"""Bounds of times, which JSON Schema has no keywords for."""


def camel(name: str) -> str:
    """A field's name in JSON."""
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


class Schemas:
    """Schemas of one contract; a rule without a translation ends the process, so that none is silently dropped."""

    def __init__(self, described: Contract) -> None:
        self._contract = described
        asked = self._reached(rpc.request for rpc in described.rpcs)
        self._answered = self._reached(rpc.response for rpc in described.rpcs) - asked
        self._field_names = {
            field.name for message in described.messages.values() for field in message.descriptor.field
        }

    def _reached(self, names: Iterable[str]) -> set[str]:
        """The messages of these names and all that they hold."""
        found: set[str] = set()
        fresh = set(names)
        while fresh:
            found |= fresh
            fields = [field for name in fresh for field in self._contract.messages[name].descriptor.field]
            fresh = ({field.type_name.lstrip(".") for field in fields} & self._contract.messages.keys()) - found
        return found

    def prose(self, comment: str) -> str:
        """A comment with the fields that it names as REST names them; those of errors' metadata stay."""
        return ". ".join(
            sentence if "etadata" in sentence else NAME.sub(self._in_rest, sentence) for sentence in comment.split(". ")
        )

    def _in_rest(self, found: re.Match[str]) -> str:
        return camel(found[0]) if found[0] in self._field_names else found[0]

    def message(self, message: Message, without: Iterable[str] = ()) -> Node:
        """A message, `without` the fields that are elsewhere in the request."""
        fields = [field for field in message.descriptor.field if field.name not in set(without)]
        schema: Node = {"type": "object"}
        if fields:
            schema["properties"] = {camel(field.name): self.field(message, field) for field in fields}
        schema["title"] = message.descriptor.name
        answers = message.name in self._answered
        if required := [camel(field.name) for field in fields if _required(field) or (answers and _always(field))]:
            schema["required"] = required
        if oneofs := _oneofs(message.descriptor):
            schema["allOf"] = oneofs
        rules = message.descriptor.options.Extensions[validate_pb2.message]
        return schema | {"additionalProperties": False, "description": self._text(message.comment, rules)}

    def enum(self, name: str) -> Node:
        """An enum, all its values included."""
        enum = self._contract.enums[name]
        values = [value.name for value in enum.descriptor.value]
        return {
            "type": "string",
            "title": enum.descriptor.name,
            "enum": values,
            "description": self.prose(enum.comment),
        }

    def field(self, message: Message, field: Field, *, nullable: bool = True) -> Node:
        """A field of a message. nullable: whether a request may say null for one that is absent; responses never do."""
        rules = field_rules(field)
        schema = self._value(field, message.descriptor) | {"title": camel(field.name)}
        schema |= self._keywords(f"{message.name}.{field.name}", _element(field, message.descriptor), rules)
        if nullable and message.name not in self._answered and not _required(field):
            schema = _or_null(schema)
        schema["description"] = self._text(message.field_comments[field.name], rules, _bounds(rules))
        behaviours = field.options.Extensions[field_behavior_pb2.field_behavior]
        if {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER} & set(behaviours):
            schema["readOnly"] = True
        if field_behavior_pb2.INPUT_ONLY in behaviours:
            schema["writeOnly"] = True
        return schema

    def _value(self, field: Field, owner: DescriptorProto) -> Node:
        """The type alone."""
        element = _element(field, owner)
        one = {"$ref": REF + element.type_name.lstrip(".")} if element.type_name else dict(TYPES[element.type])
        if element.type_name != field.type_name:
            return {"type": "object", "additionalProperties": one}
        return {"type": "array", "items": one} if field.label == Field.LABEL_REPEATED else one

    def _keywords(self, name: str, element: Field, rules: validate_pb2.FieldRules) -> Node:
        """The rules of a field as keywords. element: the field, or what a list or a map of it holds."""
        kind = rules.WhichOneof("type")
        if kind is None or kind in ("timestamp", "duration"):
            return {}
        found: Node = {}
        for rule, value in getattr(rules, kind).ListFields():
            if rule.name in FORMATS:
                found["format"] = rule.name
            elif rule.name == "len":
                found |= {"minLength": value, "maxLength": value}
            elif rule.name in ("in", "not_in"):
                found |= self._choice(element, rule.name, list(value))
            elif rule.name in ("items", "values"):
                inner = "items" if kind == "repeated" else "additionalProperties"
                single = Field(type=element.type, type_name=element.type_name)
                found[inner] = self._value(single, DescriptorProto()) | self._keywords(name, single, value)
            elif rule.name == "pattern":
                found["pattern"] = re.sub(r"[^ -~]", lambda found: f"\\u{ord(found[0]):04x}", value)
            elif rule.name in KEYWORDS:
                found[KEYWORDS[rule.name]] = 4 * -(-value // 3) if kind == "bytes" else value  # in base64
            elif rule.name != "defined_only":
                sys.exit(f"openapi: {name}: tools/openapi_schemas.py has no keyword for {kind}.{rule.name}")
        return found

    def _text(self, comment: str, rules: _Rules, bounds: Iterable[str] = ()) -> str:
        """A comment, with the bounds and the rules that the schema cannot say."""
        lines = " ".join([self.prose(comment), *bounds])
        return "\n\n".join([lines, *(f"Rule `{rule.id}`: {self.prose(rule.message)}." for rule in rules.cel)])

    def _choice(self, field: Field, rule: str, values: list[Any]) -> Node:
        """What a field may be, or may not."""
        if field.type == Field.TYPE_ENUM:
            enum = self._contract.enums[field.type_name.lstrip(".")]
            names = {value.number: value.name for value in enum.descriptor.value}
            # What is never sent is not in the enum itself.
            values = [names[value] for value in values if not never_sent(enum, names[value])]
        if field.type_name == ".google.protobuf.FieldMask":
            paths = "|".join(map(camel, values))
            return {"pattern": f"^({paths})(,({paths}))*$"}
        if rule == "in":
            return {"enum": values}
        return {"not": {"enum": values}} if values else {}


def never_sent(enum: Enum, value: str) -> bool:
    """Whether the contract says that a value is there for form's sake only."""
    return enum.value_comments.get(value, "").startswith("Never sent")


def _element(field: Field, owner: DescriptorProto) -> Field:
    """What one value of a field is: the value of an entry for a map, the field itself otherwise."""
    for nested in owner.nested_type:
        if nested.options.map_entry and field.type_name.endswith(f".{owner.name}.{nested.name}"):
            return nested.field[1]
    return field


def _required(field: Field) -> bool:
    behaviours = field.options.Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviours or field_rules(field).required


def _always(field: Field) -> bool:
    """Whether REST shows a field of every response: what has no presence, and what every resource has."""
    if field.type == Field.TYPE_MESSAGE and field.label != Field.LABEL_REPEATED:
        return field.name in ("create_time", "update_time")
    return not field.HasField("oneof_index")


def _or_null(schema: Node) -> Node:
    if "$ref" in schema:
        return {"oneOf": [{"$ref": schema.pop("$ref")}, {"type": "null"}], **schema}
    if "enum" in schema:
        schema |= {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _oneofs(descriptor: DescriptorProto) -> list[Node]:
    """At most one field of each oneof; one that only stands for `optional` is none."""
    groups: dict[int, list[Node]] = {}
    for field in descriptor.field:
        if field.HasField("oneof_index") and not field.proto3_optional:
            groups.setdefault(field.oneof_index, []).append({"required": [camel(field.name)]})
    return [{"oneOf": [*choices, {"not": {"anyOf": choices}}]} for choices in groups.values()]


def _bounds(rules: validate_pb2.FieldRules) -> list[str]:
    """Bounds of an instant or a length of time, in words."""
    kind = rules.WhichOneof("type")
    if kind not in ("timestamp", "duration"):
        return []
    set_rules: ProtoMessage = getattr(rules, kind)
    given = {rule.name: value.ToJsonString() for rule, value in set_rules.ListFields()}
    return [f"{BOUNDS[rule]} {given[rule]}." for rule in sorted(given, key=list(BOUNDS).index)]
