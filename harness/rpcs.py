"""Every RPC of the contract with its message classes: what generated tests are generated from."""

import importlib

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from contract import descriptors
from contract.methods import Method


def _load() -> list[Method]:
    methods = descriptors.load().rpcs
    for file in {method.file for method in methods}:
        importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
    return methods


METHODS = _load()
EXPOSED = [method for method in METHODS if method.exposed]
INTERNAL = [method for method in METHODS if not method.exposed]
BY_NAME = {method.name: method for method in METHODS}


def descriptor(method: Method) -> MethodDescriptor:
    """The RPC as protobuf knows it."""
    return descriptor_pool.Default().FindServiceByName(method.full_service).FindMethodByName(method.name)


def request_class(method: Method) -> type[Message]:
    """The class of its request."""
    return message_factory.GetMessageClass(descriptor(method).input_type)


def response_class(method: Method) -> type[Message]:
    """The class of its response, or of one message of it."""
    return message_factory.GetMessageClass(descriptor(method).output_type)
