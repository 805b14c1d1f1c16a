"""What the contract promises beyond what `buf` checks."""

from collections.abc import Callable, Iterator

import pytest
from google.protobuf import descriptor_pb2
from protovalidate._gen.buf.validate import validate_pb

from contract import rules
from contract.descriptors import DESCRIPTOR_SET, Contract
from contract.methods import Method
from tools import generate, rpc_index
from tools.paths import IMAGE, ROOT

VALIDATE = "buf/validate/validate.proto"
DETAILS = ("ErrorInfo", "BadRequest", "PreconditionFailure", "RetryInfo", "ResourceInfo", "QuotaFailure", "Help")


def files(path: object) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The files of a descriptor set by name."""
    found = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())  # type: ignore[attr-defined]
    return {file.name: file for file in found.file}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_contract_keeps_the_rule(rule: Callable[[Contract], Iterator[str]]) -> None:
    assert list(rule(generate.contract())) == []


def test_the_rules_that_services_check_are_the_rules_that_are_published() -> None:
    """The rules come from one package and the validator from another: a mismatch of versions fails here."""
    generate.contract()
    published = files(IMAGE)[VALIDATE]
    checked = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    for file in (published, checked):
        file.ClearField("options")
        file.ClearField("source_code_info")
        file.ClearField("syntax")
    published.DiscardUnknownFields()
    checked.DiscardUnknownFields()
    assert published == checked


def test_the_gateway_knows_every_detail_type_that_an_error_may_carry() -> None:
    """With one unknown type it empties the whole error body."""
    details = files(DESCRIPTOR_SET)["google/rpc/error_details.proto"]
    assert set(DETAILS) <= {message.name for message in details.message_type}


@pytest.mark.parametrize("rpc", generate.contract().rpcs, ids=lambda rpc: rpc.full_name)
def test_an_rpc_has_one_handler_of_its_name(rpc: Method) -> None:
    found = [path for name, path in rpc_index.handlers(rpc.owner) if name == rpc.name]
    assert len(found) == 1
    assert (ROOT / found[0]).exists()
