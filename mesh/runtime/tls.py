"""Certificates, where settings give them: a service shows the same one to its callers and to those it calls, and holds
both to the same authority."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc

from mesh.runtime.settings import ServiceSettings

_RECONNECTING = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
"""By itself a channel waits up to two minutes before it tries again. The minimum is how long one attempt may take."""


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """What a gRPC server shows and asks for; None for plain text."""
    if not settings.tls_certificate_file:
        return None
    authority, key, certificate = _read(settings)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=authority is not None)


def channel_credentials(settings: ServiceSettings) -> grpc.ChannelCredentials | None:
    """What a call to another service shows and asks for; None for plain text."""
    return grpc.ssl_channel_credentials(*_read(settings)) if settings.tls_certificate_file else None


def channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, str]] = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """A channel to another service; credentials: None for plain text."""
    every = (*_RECONNECTING, *options)
    if credentials is None:
        return grpc.aio.insecure_channel(target, every, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, every, interceptors=interceptors)


def server_context(settings: ServiceSettings) -> ssl.SSLContext | None:
    """What a server of HTTP/1.1 shows and asks for; None for plain text."""
    if not settings.tls_certificate_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.tls_client_ca_file or None)
    context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file)
    context.set_alpn_protocols(["http/1.1"])
    if settings.tls_client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(settings: ServiceSettings) -> tuple[bytes | None, bytes, bytes]:
    """Authority, key and certificate, in the order of gRPC."""
    authority = Path(settings.tls_client_ca_file).read_bytes() if settings.tls_client_ca_file else None
    return authority, Path(settings.tls_key_file).read_bytes(), Path(settings.tls_certificate_file).read_bytes()
