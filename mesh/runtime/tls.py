"""TLS, when configured: one certificate for callers and callees, both verified against the same CA."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc

from mesh.runtime.settings import ServiceSettings

_RECONNECT_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
"""A channel's default is to wait up to two minutes before it reconnects. The minimum limits one attempt."""


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """Credentials of a gRPC server; None for plain text."""
    if not settings.tls_certificate_file:
        return None
    authority, key, certificate = _read(settings)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=authority is not None)


def channel_credentials(settings: ServiceSettings) -> grpc.ChannelCredentials | None:
    """Credentials for calls to other services; None for plain text."""
    return grpc.ssl_channel_credentials(*_read(settings)) if settings.tls_certificate_file else None


def channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, str]] = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """A channel to another service; credentials: None for plain text."""
    all_options = (*_RECONNECT_OPTIONS, *options)
    if credentials is None:
        return grpc.aio.insecure_channel(target, all_options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, all_options, interceptors=interceptors)


def server_context(settings: ServiceSettings) -> ssl.SSLContext | None:
    """TLS context of an HTTP/1.1 server; None for plain text."""
    if not settings.tls_certificate_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.tls_client_ca_file or None)
    context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file)
    context.set_alpn_protocols(["http/1.1"])
    if settings.tls_client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(settings: ServiceSettings) -> tuple[bytes | None, bytes, bytes]:
    """CA, key and certificate, in gRPC's order."""
    authority = Path(settings.tls_client_ca_file).read_bytes() if settings.tls_client_ca_file else None
    return authority, Path(settings.tls_key_file).read_bytes(), Path(settings.tls_certificate_file).read_bytes()
