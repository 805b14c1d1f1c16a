"""Fields and their rules become JSON Schema, and a rule without a translation is never dropped."""

from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet
from jsonschema import Draft202012Validator

from contract.descriptors import Contract, Enum, Message
from tools.openapi_schemas import Schemas, camel

Field = FieldDescriptorProto
COLOUR = EnumDescriptorProto(name="Colour")
for number, name in enumerate(("COLOUR_UNSPECIFIED", "COLOUR_RED")):
    COLOUR.value.add(name=name, number=number)


def a_field(kind: Any, rules: str = "", **given: Any) -> Field:
    """A field with rules in text format."""
    field = Field(name="some_field", number=1, type=kind, **{"label": Field.LABEL_OPTIONAL, **given})
    text_format.Parse(rules, field.options.Extensions[validate_pb2.field])
    return field


def described_by(*fields: Field) -> tuple[Schemas, Message]:
    """The schemas of a contract with a message of these fields."""
    described = Contract(FileDescriptorSet())
    described.enums = {"shop.Colour": Enum("shop.Colour", "shop", "", COLOUR, {})}
    comments = {field.name: "What it is." for field in fields}
    message = Message("shop.Item", "shop", "An item.", DescriptorProto(name="Item", field=fields), comments)
    return Schemas(described), message


def schema_of(*fields: Field) -> dict[str, Any]:
    """The schema of a message with these fields."""
    schemas, message = described_by(*fields)
    return schemas.message(message)


@pytest.mark.parametrize(
    ("field", "keywords"),
    [
        (a_field(Field.TYPE_STRING, "string {min_len: 1 max_len: 9}"), {"minLength": 1, "maxLength": 9}),
        (a_field(Field.TYPE_STRING, "string {len: 4}"), {"minLength": 4, "maxLength": 4}),
        (a_field(Field.TYPE_STRING, "string {uuid: true}"), {"format": "uuid"}),
        (a_field(Field.TYPE_STRING, 'string {in: "a" in: "b"}'), {"enum": ["a", "b"]}),
        (a_field(Field.TYPE_STRING, 'string {pattern: "^a$"}'), {"pattern": "^a$"}),
        (a_field(Field.TYPE_INT32, "int32 {gt: 0 lte: 5}"), {"exclusiveMinimum": 0, "maximum": 5}),
        (a_field(Field.TYPE_DOUBLE, "double {gte: 0 lt: 1}"), {"minimum": 0, "exclusiveMaximum": 1}),
        (
            a_field(
                Field.TYPE_STRING,
                "repeated {min_items: 1 max_items: 3 unique: true items {string {max_len: 5}}}",
                label=Field.LABEL_REPEATED,
            ),
            {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "uniqueItems": True,
                "items": {"type": "string", "maxLength": 5},
            },
        ),
        (
            a_field(Field.TYPE_ENUM, "enum {defined_only: true not_in: 0}", type_name=".shop.Colour"),
            {"not": {"enum": ["COLOUR_UNSPECIFIED"]}},
        ),
        (
            a_field(
                Field.TYPE_MESSAGE,
                'field_mask {in: "title" in: "due_time"}',
                type_name=".google.protobuf.FieldMask",
            ),
            {"pattern": "^(title|dueTime)(,(title|dueTime))*$"},
        ),
        (
            a_field(
                Field.TYPE_MESSAGE,
                "timestamp {lt {seconds: 60} gte {seconds: 0}}",
                type_name=".google.protobuf.Timestamp",
            ),
            {"description": "What it is. Not before 1970-01-01T00:00:00Z. Before 1970-01-01T00:01:00Z."},
        ),
        (
            a_field(Field.TYPE_STRING, 'cel {id: "item.odd" message: "must be odd"}'),
            {"description": "What it is.\n\nRule `item.odd`: must be odd."},
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value.type),
)
def test_a_rule_becomes_a_keyword_or_a_sentence(field: Field, keywords: dict[str, Any]) -> None:
    schemas, message = described_by(field)
    found = schemas.field(message, field, nullable=False)

    assert {name: found.get(name) for name in keywords} == keywords


def test_a_rule_without_a_keyword_is_no_document() -> None:
    with pytest.raises(SystemExit, match=r"shop\.Item\.some_field.*string\.prefix"):
        schema_of(a_field(Field.TYPE_STRING, 'string {prefix: "a"}'))


def test_an_optional_field_may_be_null_and_a_required_one_must_be_there() -> None:
    optional = a_field(Field.TYPE_STRING, proto3_optional=True)
    required = a_field(Field.TYPE_STRING, "required: true")

    assert schema_of(optional)["properties"]["someField"]["type"] == ["string", "null"]
    assert "required" not in schema_of(optional)
    assert schema_of(required)["required"] == ["someField"]


def test_a_map_takes_any_names() -> None:
    entry = DescriptorProto(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING)
    entry.field.add(name="value", number=2, type=Field.TYPE_INT32)
    labels = a_field(
        Field.TYPE_MESSAGE,
        "map {max_pairs: 2 values {int32 {gte: 1}}}",
        label=Field.LABEL_REPEATED,
        type_name=".shop.Item.LabelsEntry",
    )
    descriptor = DescriptorProto(name="Item", field=[labels], nested_type=[entry])
    message = Message("shop.Item", "shop", "An item.", descriptor, {"some_field": "Labels."})

    schema = Draft202012Validator(Schemas(Contract(FileDescriptorSet())).message(message))

    assert schema.is_valid({"someField": {"a": 1, "b": 2}})
    assert not schema.is_valid({"someField": {"a": 0}})
    assert not schema.is_valid({"someField": {"a": 1, "b": 2, "c": 3}})


def test_a_oneof_takes_at_most_one_of_its_fields() -> None:
    fields = [a_field(Field.TYPE_STRING, oneof_index=0) for _ in range(2)]
    for field, name in zip(fields, ("change", "heartbeat"), strict=True):
        field.name = name
    schema = Draft202012Validator(schema_of(*fields, a_field(Field.TYPE_STRING)))

    assert schema.is_valid({"someField": "1"})
    assert schema.is_valid({"someField": "1", "change": ""})
    assert not schema.is_valid({"change": "", "heartbeat": ""})
    assert not schema.is_valid({"change": "", "unknown": 1})


@pytest.mark.parametrize(("name", "json"), [("title", "title"), ("due_time", "dueTime"), ("a_b_c", "aBC")])
def test_names_are_those_of_json(name: str, json: str) -> None:
    assert camel(name) == json
