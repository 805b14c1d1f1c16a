"""Reflection: tools that know no proto file find the RPCs of a service."""

from dataclasses import replace

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from mesh.rpc.server import Server
from tests.support.serving import settings_for

TASKS = "focusmesh.todo.v1.TaskService"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_tools_of_either_version_find_the_services_and_their_files(version: str) -> None:
    settings = replace(settings_for(redis_url=""), reflection=True)
    server = Server(settings, largest_request=1024)
    await server.start([TASKS])
    try:
        async with grpc.aio.insecure_channel(settings.listen) as channel:
            ask = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            asked = (reflection_pb2.ServerReflectionRequest(list_services=""),)
            asked += (reflection_pb2.ServerReflectionRequest(file_containing_symbol=TASKS),)
            listed, file = [answer async for answer in ask(iter(asked))]
    finally:
        await server.grpc.stop(0)
    assert TASKS in [service.name for service in listed.list_services_response.service]
    assert file.file_descriptor_response.file_descriptor_proto
