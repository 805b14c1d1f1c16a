"""Writes the golden table of the contract: routes, policies and validation rules, one line each.

`buf breaking` lets a route, a scope or a limit change; a diff of this table does not. `make proto ACCEPT=1` writes it.
"""

from collections.abc import Iterator

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message as ProtoMessage

from tools import contract
from tools.contract import Contract, Enum, Message, Rpc
from tools.paths import ROOT

TABLE = ROOT / "tests" / "contract" / "golden" / "contract.txt"


def one_line(message: ProtoMessage) -> str:
    """A message as text on one line."""
    return text_format.MessageToString(message, as_one_line=True, as_utf8=True)


def rpc_line(rpc: Rpc) -> str:
    """Route and policy of an RPC."""
    deadline = "none" if rpc.streaming else f"{rpc.deadline_seconds}s"
    route = f"{rpc.verb} {rpc.path} body={rpc.body or '-'}" if rpc.verb else "no route"
    policy = f"{rpc.access} scope={rpc.scope or '-'} rate={rpc.rate} deadline={deadline} {rpc.idempotency}"
    return f"rpc {rpc.full_name}: {route} | {policy} | {', '.join(rpc.errors or ())}"


def field_line(message: Message, field: FieldDescriptorProto) -> str:
    """Type, presence, behaviour and rules of a field."""
    kind = field.type_name.lstrip(".") or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    words = [kind]
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        words.insert(0, "repeated")
    if field.proto3_optional:
        words.insert(0, "optional")
    words += [
        field_behavior_pb2.FieldBehavior.Name(behaviour)
        for behaviour in field.options.Extensions[field_behavior_pb2.field_behavior]
    ]
    if field.options.debug_redact:
        words.append("redacted")
    rules = one_line(contract.field_rules(field))
    return f"field {message.name}.{field.name} = {field.number}: {' '.join(words)}{f' | {rules}' if rules else ''}"


def message_lines(message: Message) -> Iterator[str]:
    """The fields of a message and the rules across them."""
    rules = one_line(message.descriptor.options.Extensions[validate_pb2.message])
    if rules:
        yield f"message {message.name} | {rules}"
    for field in message.descriptor.field:
        yield field_line(message, field)


def enum_line(enum: Enum) -> str:
    """The values of an enum."""
    return f"enum {enum.name}: " + ", ".join(f"{value.name} = {value.number}" for value in enum.descriptor.value)


def table(described: Contract) -> str:
    """The whole table."""
    lines = [rpc_line(rpc) for rpc in described.rpcs]
    lines += [line for message in described.messages.values() for line in message_lines(message)]
    lines += [enum_line(enum) for enum in described.enums.values()]
    return "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(table(contract.current()))
