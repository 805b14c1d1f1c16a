"""Each rule of the contract catches the mistake it is there for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    FileOptions,
)

from contract import rules
from contract.descriptors import SHARED_REASONS, Contract, Message, error_reasons
from contract.methods import Method

Field = FieldDescriptorProto
SOUND = Method(
    package="focusmesh.shop.v1",
    service="ItemService",
    name="GetItem",
    file="focusmesh/shop/v1/item_service.proto",
    comment="Reads an item.",
    request="focusmesh.shop.v1.GetItemRequest",
    response="focusmesh.shop.v1.GetItemResponse",
    streaming=False,
    client_streaming=False,
    verb="GET",
    path="/v1/items/{item_id}",
    body="",
    more_bindings=False,
    access="USER",
    scope="items:read",
    rate="READ",
    deadline_seconds=5,
    largest_request_kib=0,
    has_policy=True,
    callers=(),
    idempotency="NO_SIDE_EFFECTS",
    errors=("ITEM_NOT_FOUND", "TOKEN_INVALID"),
)


def a_message(*fields: Field) -> Message:
    """The request of the RPC."""
    return Message(SOUND.request, SOUND.package, "", DescriptorProto(name="GetItemRequest", field=fields), {})


def a_contract(*rpcs: Method, request: Message | None = None) -> Contract:
    """A contract with these RPCs, or with the sound one."""
    described = Contract(FileDescriptorSet())
    described.rpcs = list(rpcs or (SOUND,))
    described.messages = {SOUND.request: request or a_message()}
    described.reasons = {SHARED_REASONS: {"TOKEN_INVALID": ""}, SOUND.package: {"ITEM_NOT_FOUND": ""}}
    return described


def test_a_sound_contract_has_no_complaint() -> None:
    assert rules.complaints(a_contract()) == []


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        (rules.policies, replace(SOUND, has_policy=False)),
        (rules.policies, replace(SOUND, access="UNSPECIFIED")),
        (rules.policies, replace(SOUND, rate="UNSPECIFIED")),
        (rules.policies, replace(SOUND, scope="")),
        (rules.policies, replace(SOUND, access="GUEST", scope="")),
        (rules.scopes, replace(SOUND, scope="admin")),
        (rules.internal, replace(SOUND, callers=("cart",))),
        (rules.idempotency, replace(SOUND, idempotency="")),
        (rules.idempotency, replace(SOUND, rate="WRITE", idempotency="IDEMPOTENT")),
        (rules.idempotency, replace(SOUND, rate="EXPENSIVE", idempotency="IDEMPOTENT")),
        (rules.expensive, replace(SOUND, name="BatchGetItems")),
        (rules.declared_errors, replace(SOUND, errors=None)),
        (rules.declared_errors, replace(SOUND, errors=("ITEM_EATEN",))),
        (rules.bindings, replace(SOUND, access="INTERNAL")),
        (rules.bindings, replace(SOUND, more_bindings=True)),
        (rules.routes, replace(SOUND, verb="", path="")),
        (rules.routes, replace(SOUND, verb="PUT")),
        (rules.routes, replace(SOUND, verb="DELETE", body="*")),
        (rules.routes, replace(SOUND, verb="POST", body="item")),
        (rules.routes, replace(SOUND, verb="POST", body="")),
    ],
)
def test_a_mistake_in_an_rpc_is_found(rule: Callable[[Contract], Iterator[str]], mistake: Method) -> None:
    assert len(list(rule(a_contract(mistake)))) == 1


@pytest.mark.parametrize(
    "mistake",
    [
        {"go_package": ""},
        {"go_package": "focusmesh.example/go/focusmesh/shop/v1"},
        {"java_package": "com.shop"},
        {"java_multiple_files": False},
    ],
)
def test_a_file_that_does_not_say_where_it_belongs_in_go_and_java_is_found(mistake: dict[str, Any]) -> None:
    place = "focusmesh.example/go/focusmesh/shop/v1;shopv1"
    right = {"go_package": place, "java_package": "focusmesh.shop.v1", "java_multiple_files": True}
    for options, complaints in ((right, 0), (right | mistake, 1)):
        file = FileDescriptorProto(
            name="focusmesh/shop/v1/item.proto", package="focusmesh.shop.v1", options=FileOptions(**options)
        )
        assert len(list(rules.languages(Contract(FileDescriptorSet(file=[file]))))) == complaints


def test_a_post_may_take_a_body_of_any_type() -> None:
    post = replace(SOUND, verb="POST", body="form")
    request = a_message(Field(name="item_id"), Field(name="form", type_name=rules.ANY_BODY))
    assert list(rules.routes(a_contract(post, request=request))) == []


@pytest.mark.parametrize("access", ["ADMIN", "INTERNAL"])
def test_a_scope_that_users_are_granted_opens_nothing_else(access: str) -> None:
    other = replace(SOUND, name="EraseItems", access=access, path="")
    assert len(list(rules.scopes(a_contract(SOUND, other)))) == 1
    assert list(rules.scopes(a_contract(SOUND, replace(other, scope="items:erase")))) == []


def test_scopes_of_users_and_guests_are_granted_and_no_others() -> None:
    accesses = {"USER": "items:read", "GUEST": "shops:read", "ADMIN": "items:ban", "INTERNAL": "items:sync"}
    rpcs = [replace(SOUND, access=access, scope=scope) for access, scope in accesses.items()]
    described = a_contract(*rpcs, replace(SOUND, access="PUBLIC", scope=""))
    assert described.user_scopes == ["items:read", "shops:read"]
    assert described.guest_scopes == ["shops:read"]


@pytest.mark.parametrize("named", [(), ("name",), ("name", "size", "colour")])
def test_an_update_mask_names_every_field_that_may_change_and_no_other(named: tuple[str, ...]) -> None:
    fields = {name: Field(name=name) for name in ("item_id", "update_mask", "etag", "request_id", "name", "size")}
    getattr(fields["update_mask"].options.Extensions[validate_pb2.field].field_mask, "in").extend(named)
    described = a_contract(replace(SOUND, path="/v1/items/{item_id}"), request=a_message(*fields.values()))
    wrong = {"name", "size"} ^ set(named)
    assert {complaint.split()[1] for complaint in rules.masks(described)} == wrong


@pytest.mark.parametrize("refused", [(), (0,)])
def test_an_enum_that_a_mask_may_name_takes_its_zero(refused: tuple[int, ...]) -> None:
    fields = {name: Field(name=name) for name in ("update_mask", "kind")}
    getattr(fields["update_mask"].options.Extensions[validate_pb2.field].field_mask, "in").append("kind")
    fields["kind"].options.Extensions[validate_pb2.field].enum.not_in.extend(refused)
    described = a_contract(replace(SOUND, verb="PATCH"), request=a_message(*fields.values()))
    assert len(list(rules.cleared_enums(described))) == len(refused)


def a_field(kind: "Field.Type.ValueType", *, repeated: bool = False, name: str = "item_id") -> Field:
    """A field without rules."""
    return Field(name=name, number=1, type=kind, label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL)


def a_user_id(*, uuid: bool = True) -> Field:
    """The field of an internal request."""
    field = a_field(Field.TYPE_STRING, name="user_id")
    field.options.Extensions[validate_pb2.field].string.uuid = uuid
    return field


INTERNAL = replace(SOUND, access="INTERNAL", scope="", verb="", path="", callers=("cart",))


def test_a_sound_internal_rpc_has_no_complaint() -> None:
    assert rules.complaints(a_contract(INTERNAL, request=a_message(a_user_id()))) == []


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        (replace(INTERNAL, callers=()), [a_user_id()]),
        (replace(INTERNAL, callers=("cart", "shop")), [a_user_id()]),
        (replace(INTERNAL, scope="items:read"), [a_user_id()]),
        (INTERNAL, []),
        (INTERNAL, [a_user_id(uuid=False)]),
        (SOUND, [a_user_id()]),
    ],
    ids=["no callers", "calls itself", "a scope", "no user_id", "user_id is any text", "a user names another user"],
)
def test_a_mistake_in_an_internal_rpc_is_found(rpc: Method, fields: list[Field]) -> None:
    assert len(list(rules.internal(a_contract(rpc, request=a_message(*fields))))) == 1


@pytest.mark.parametrize(
    ("path", "collides"),
    [
        ("/v1/items/{item_id}", True),
        ("/v1/items/newest", True),
        ("/v1/items/newest:refresh", True),
        ("/v1/items/{id}/parts", True),
        ("/v1/{kind}/{item_id}", True),
        ("/v1/items", False),
        ("/v1/items:batchCreate", False),
        ("/v1/items/{item_id}:buy", False),
        ("/v1/items/{item_id}/parts/{part_id}", False),
        ("/v1/shops/newest", False),
    ],
)
def test_a_literal_never_stands_beside_a_variable(path: str, collides: bool) -> None:
    found = list(rules.route_collisions(a_contract(SOUND, replace(SOUND, name="Other", path=path))))
    assert bool(found) is collides


def test_the_same_path_with_another_verb_is_no_collision() -> None:
    other = replace(SOUND, name="DeleteItem", verb="DELETE")
    assert list(rules.route_collisions(a_contract(SOUND, other))) == []


@pytest.mark.parametrize(
    "field",
    [
        a_field(Field.TYPE_STRING),
        a_field(Field.TYPE_INT32, repeated=True),
        a_field(Field.TYPE_ENUM),
    ],
    ids=["string", "list", "enum"],
)
def test_an_unbounded_input_is_found(field: Field) -> None:
    assert len(list(rules.bounds(a_contract(request=a_message(field))))) == 1


def test_a_bounded_input_is_fine() -> None:
    field = a_field(Field.TYPE_STRING)
    field.options.Extensions[validate_pb2.field].string.max_len = 10
    assert list(rules.bounds(a_contract(request=a_message(field)))) == []


@pytest.mark.parametrize(
    "field",
    [a_field(Field.TYPE_INT64), a_field(Field.TYPE_BYTES), a_field(Field.TYPE_INT32, name="line_2")],
    ids=["int64", "bytes", "digit after underscore"],
)
def test_a_field_that_json_would_change_is_found(field: Field) -> None:
    assert len(list(rules.json_types(a_contract(request=a_message(field))))) == 1


@pytest.mark.parametrize(
    ("comment", "reasons"),
    [
        ("Reads it.\n\nNeeds scope `a:b`. Errors: NOT_THERE, GONE,\n TOO_LATE.", ("NOT_THERE", "GONE", "TOO_LATE")),
        ("Reads it. Errors: none of its own.", ()),
        ("Reads it.", None),
    ],
)
def test_errors_are_read_from_the_comment(comment: str, reasons: tuple[str, ...] | None) -> None:
    assert error_reasons(comment) == reasons
