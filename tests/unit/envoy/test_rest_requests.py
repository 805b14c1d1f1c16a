"""What the gateway checks of requests by REST is made of types that it can read, and of no others."""

import pytest
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from contract.descriptors import Contract
from contract.rules import ContractError
from envoy import rest_requests
from tests.unit.envoy.contracts import rpc

POST = HttpRule(post="/v1/items", body="*")
ITEM = ".focusmesh.shop.v1.Item"


def message(name: str) -> FieldDescriptorProto:
    """A field of a message."""
    return FieldDescriptorProto(type=FieldDescriptorProto.TYPE_MESSAGE, type_name=name)


def script(http: HttpRule, field: FieldDescriptorProto) -> str:
    """The program for an RPC whose request by POST has an item, and by GET is one; the item has this field."""
    field.name = field.json_name = "odd"
    item = DescriptorProto(name="Item", field=[field])
    whole = message(ITEM)
    whole.name = whole.json_name = "item"
    buy = rpc("Buy", http)
    buy.input_type = ITEM if http.get else ".focusmesh.shop.v1.BuyRequest"
    shop = FileDescriptorProto(
        name="focusmesh/shop.proto",
        package="focusmesh.shop.v1",
        message_type=[item, DescriptorProto(name="BuyRequest", field=[whole])],
        service=[ServiceDescriptorProto(name="ShopService", method=[buy])],
    )
    return rest_requests.script(Contract(FileDescriptorSet(file=[shop])))


@pytest.mark.parametrize("http", [POST, HttpRule(get="/v1/items")], ids=["body", "query"])
@pytest.mark.parametrize(
    "field",
    [
        FieldDescriptorProto(type=FieldDescriptorProto.TYPE_UINT32),
        FieldDescriptorProto(type=FieldDescriptorProto.TYPE_FLOAT),
        FieldDescriptorProto(type=FieldDescriptorProto.TYPE_INT64),
        message(f"{ITEM}.CountsEntry"),
        message(".google.protobuf.StringValue"),
        message(".google.protobuf.Struct"),
    ],
    ids=["uint32", "float", "int64", "map", "wrapper", "struct"],
)
def test_a_field_of_a_type_that_is_not_checked_is_named(http: HttpRule, field: FieldDescriptorProto) -> None:
    with pytest.raises(ContractError, match=r"^focusmesh\.shop\.v1\.Item\.odd: "):
        script(http, field)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (FieldDescriptorProto(type=FieldDescriptorProto.TYPE_INT32), "number"),
        (message(".google.protobuf.Timestamp"), "text"),
        (message(ITEM), "message"),
    ],
    ids=["int32", "instant", "message"],
)
def test_a_field_of_any_other_type_has_its_kind(field: FieldDescriptorProto, kind: str) -> None:
    assert f'["odd"]={{["name"]="odd",["kind"]="{kind}"' in script(POST, field)
