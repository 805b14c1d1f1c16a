"""Reads the contract: every RPC, message, enum and error reason of a descriptor set."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from buf.validate import validate_pb2
from focusmesh.policy.v1 import policy_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodOptions,
    ServiceDescriptorProto,
)

from contract.methods import Method

DESCRIPTOR_SET = Path(__file__).resolve().parent.parent / "gen" / "gateway" / "gateway.binpb"
"""What the gateway transcodes with: all of the contract but its comments."""
OWN = "focusmesh/"
SHARED_REASONS = "focusmesh.type.v1"
GATEWAY_REASONS = "focusmesh.gateway.v1"
REASON_PREFIX = "ERROR_REASON_"
GRANTED = ("USER", "GUEST")
"""Whose RPCs' scopes a signed-in user gets."""
DEFAULT_DEADLINE_SECONDS = 5
# Numbers of descriptor fields, as source locations name them.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, METHODS, VALUES = 2, 2, 2


@dataclass(frozen=True)
class Message:
    """A message with the comments of its fields."""

    name: str
    package: str
    comment: str
    descriptor: DescriptorProto
    field_comments: dict[str, str]


@dataclass(frozen=True)
class Enum:
    """An enum with the comments of its values."""

    name: str
    package: str
    comment: str
    descriptor: EnumDescriptorProto
    value_comments: dict[str, str]


def paragraphs(comment: str) -> str:
    """A comment with each paragraph on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", comment.strip()))


def error_reasons(comment: str) -> tuple[str, ...] | None:
    """The reasons that an RPC's comment lists after `Errors:`; `none of its own` lists none."""
    found = re.search(r"\bErrors: ([^.]+)\.", comment)
    if not found:
        return None
    return () if found[1] == "none of its own" else tuple(re.split(r",\s*", found[1].strip()))


class Source:
    """One file of the image with its comments."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self.locations = {tuple(location.path): location for location in file.source_code_info.location}

    def comment(self, *path: int) -> str:
        """The comment before what the path leads to."""
        location = self.locations.get(path)
        return paragraphs(location.leading_comments) if location else ""

    def rpcs(self) -> Iterator[Method]:
        """The RPCs of the file in order."""
        for s, service in enumerate(self.file.service):
            for m in range(len(service.method)):
                yield self.rpc(service, s, m)

    def rpc(self, service: ServiceDescriptorProto, s: int, m: int) -> Method:
        """One RPC with its options."""
        method = service.method[m]
        options = method.options
        rule = options.Extensions[policy_pb2.rule]
        http = options.Extensions[annotations_pb2.http]
        verb = http.WhichOneof("pattern") or ""
        comment = self.comment(SERVICES, s, METHODS, m)
        streaming = method.client_streaming or method.server_streaming
        return Method(
            package=self.file.package,
            service=service.name,
            name=method.name,
            file=self.file.name,
            comment=comment,
            request=method.input_type.lstrip("."),
            response=method.output_type.lstrip("."),
            streaming=streaming,
            client_streaming=method.client_streaming,
            verb=verb.upper(),
            path=getattr(http, verb) if verb else "",
            body=http.body,
            more_bindings=bool(http.additional_bindings),
            access=policy_pb2.Access.Name(rule.access).removeprefix("ACCESS_"),
            scope=rule.scope,
            rate=policy_pb2.RateClass.Name(rule.rate).removeprefix("RATE_CLASS_"),
            deadline_seconds=0 if streaming else rule.deadline_seconds or DEFAULT_DEADLINE_SECONDS,
            largest_request_kib=rule.largest_request_kib,
            has_policy=options.HasExtension(policy_pb2.rule),
            callers=tuple(rule.callers),
            idempotency=MethodOptions.IdempotencyLevel.Name(options.idempotency_level)
            if options.HasField("idempotency_level")
            else "",
            errors=error_reasons(comment),
        )

    def messages(self) -> Iterator[Message]:
        """The messages of the file, without nested ones."""
        for index, message in enumerate(self.file.message_type):
            yield Message(
                name=f"{self.file.package}.{message.name}",
                package=self.file.package,
                comment=self.comment(MESSAGES, index),
                descriptor=message,
                field_comments={
                    field.name: self.comment(MESSAGES, index, FIELDS, f) for f, field in enumerate(message.field)
                },
            )

    def enums(self) -> Iterator[Enum]:
        """The enums of the file, without nested ones."""
        for index, enum in enumerate(self.file.enum_type):
            yield Enum(
                name=f"{self.file.package}.{enum.name}",
                package=self.file.package,
                comment=self.comment(ENUMS, index),
                descriptor=enum,
                value_comments={
                    value.name: self.comment(ENUMS, index, VALUES, v) for v, value in enumerate(enum.value)
                },
            )


class Contract:
    """Our own files of an image."""

    def __init__(self, image: FileDescriptorSet) -> None:
        own = sorted((file for file in image.file if file.name.startswith(OWN)), key=lambda file: file.name)
        self.sources = [Source(file) for file in own]

    @cached_property
    def rpcs(self) -> list[Method]:
        """Every RPC, in the order of the files."""
        return [rpc for source in self.sources for rpc in source.rpcs()]

    @cached_property
    def user_scopes(self) -> list[str]:
        """Every scope that a signed-in user needs, sorted."""
        return sorted({rpc.scope for rpc in self.rpcs if rpc.access in GRANTED and rpc.scope})

    @cached_property
    def guest_scopes(self) -> list[str]:
        """Every scope that a guest needs, sorted."""
        return sorted({rpc.scope for rpc in self.rpcs if rpc.access == "GUEST" and rpc.scope})

    @cached_property
    def services(self) -> dict[str, str]:
        """The comment of every proto service by its full name."""
        return {
            f"{source.file.package}.{service.name}": source.comment(SERVICES, index)
            for source in self.sources
            for index, service in enumerate(source.file.service)
        }

    @cached_property
    def messages(self) -> dict[str, Message]:
        """Every message by its full name."""
        return {message.name: message for source in self.sources for message in source.messages()}

    @cached_property
    def enums(self) -> dict[str, Enum]:
        """Every enum by its full name."""
        return {enum.name: enum for source in self.sources for enum in source.enums()}

    @cached_property
    def reasons(self) -> dict[str, dict[str, str]]:
        """Error reasons without their prefix, and what they mean, by package."""
        return {
            enum.package: {
                name.removeprefix(REASON_PREFIX): comment
                for name, comment in enum.value_comments.items()
                if not name.endswith("_UNSPECIFIED")
            }
            for enum in self.enums.values()
            if enum.descriptor.name == "ErrorReason"
        }

    def domain(self, rpc: Method, reason: str) -> str:
        """The `google.rpc.ErrorInfo.domain` that a reason of an RPC comes with."""
        own = self.reasons.get(rpc.package, {})
        return f"{rpc.owner}.focusmesh" if reason in own else "focusmesh"


def field_rules(field: FieldDescriptorProto) -> validate_pb2.FieldRules:
    """The validation rules of a field; empty when it has none."""
    return field.options.Extensions[validate_pb2.field]


def load(path: Path = DESCRIPTOR_SET) -> Contract:
    """Reads a descriptor set; comments, and with them error reasons, are there only in one with source information."""
    return Contract(FileDescriptorSet.FromString(path.read_bytes()))
