"""Where outgoing calls may go: to public addresses, and to networks that a setting allows.

Users give the addresses of webhooks, push services and calendars. Without this, a service would call for them what only
its own network reaches: other services, databases, the metadata of the cloud that it runs in.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import idna

from mesh.outgoing.errors import PermanentFailure, TemporaryFailure

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[list[Address]]]
"""The addresses of a name; raises OSError when there are none."""

LONGEST_URL = 2048
"""Characters."""
_NAMES_AT_ONCE = 64
"""As many as calls at once: name servers that hang, of whoever, keep no call waiting."""
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63}){0,20}\.?")
_SCHEMES = {"https": 443, "http": 80}
_IPV6_UNICAST = IPv6Network("2000::/3")
"""All that is assigned for the public; what lies outside of it is local, reserved or multicast."""
_IPV6_TO_IPV4 = IPv6Network("64:ff9b::/96")
"""Addresses of NAT64: the last 32 bits are an IPv4 address, which the network calls."""
_NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")))
"""Beside what Python says: addresses of protocols, metadata of Oracle's cloud among them; relays of 6to4; the host of
every machine of Azure; documentation. Releases of Python differ in the first and the last."""


class Url(NamedTuple):
    """An address to call, taken apart."""

    scheme: str
    host: str
    """A name in ASCII, or an IP address without brackets."""
    port: int
    target: bytes
    """Path and query."""

    @property
    def origin(self) -> str:
        """Scheme, host and port, as push services are identified (RFC 6454)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _SCHEMES[self.scheme] else f":{self.port}")


class Guard:
    """Decides which addresses may be called; the address that it returns is the one to connect to.

    It resolves names in threads of its own: name servers of others that do not respond delay no other work.
    """

    def __init__(self, allowed: Iterable[Network] = (), resolve: Resolver | None = None) -> None:
        """allowed: networks that may be called though they are not public, also without encryption."""
        self._allowed = tuple(allowed)
        self._threads = ThreadPoolExecutor(_NAMES_AT_ONCE, thread_name_prefix="names")
        self._resolve = resolve or self._ask_system

    def parse(self, text: str) -> Url:
        """An address to call; raises ValueError that says, after `The url`, why it can never be called."""
        url = parse(text)
        if url.scheme == "http" and not self._allowed:
            raise ValueError("must begin with https://")
        literal = _literal(url.host)
        if literal is not None and not self.permits(literal, encrypted=url.scheme == "https"):
            raise ValueError("must not be an address that is not public")
        return url

    def permits(self, address: Address, *, encrypted: bool) -> bool:
        """Whether an address may be called; without encryption only in networks that are allowed."""
        plain = _plain(address)
        return any(plain in network for network in self._allowed) or (encrypted and is_public(address))

    async def addresses(self, host: str, port: int, *, encrypted: bool) -> list[Address]:
        """The addresses of a host, all of them permitted.

        Raises PermanentFailure when one of them is not, and TemporaryFailure when the name has none now.
        """
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise TemporaryFailure(f"{host} was not found: {getattr(error, 'strerror', None) or error}") from error
        if not found:
            raise TemporaryFailure(f"{host} was not found")
        for address in found:
            if not self.permits(address, encrypted=encrypted):
                reason = "may only be called encrypted" if is_public(address) else "is not a public address"
                raise PermanentFailure(f"not called: {host} is at {address}, which {reason}")
        return found

    def close(self) -> None:
        """Lets go of its threads; those that wait for a name server end when it responds."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_system(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _system_addresses, host, port)
        return list(dict.fromkeys(found))


def networks(text: str) -> tuple[Network, ...]:
    """Networks of a setting, separated by `;`; raises ValueError."""
    return tuple(ip_network(item.strip()) for item in text.split(";") if item.strip())


def parse(text: str) -> Url:
    """A URL of http or https, taken apart; raises ValueError that continues `The url`."""
    if len(text) > LONGEST_URL:
        raise ValueError(f"must have at most {LONGEST_URL} characters")
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must not contain spaces, backslashes or control characters")
    parts, port = _split(text)
    if parts.scheme not in _SCHEMES:
        raise ValueError("must begin with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password")
    if parts.fragment:
        raise ValueError("must not contain a fragment")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        raise ValueError("must have its path and query percent-encoded")
    return Url(parts.scheme, _host(parts.hostname or ""), port or _SCHEMES[parts.scheme], target.encode())


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; one that carries an IPv4 address is judged by it."""
    carried = _carried(address)
    if carried is not None:
        return is_public(carried)
    if isinstance(address, IPv6Address) and address not in _IPV6_UNICAST:
        return False
    local = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not local


def _carried(address: Address) -> IPv4Address | None:
    """The IPv4 address that a call to an IPv6 address reaches in the end."""
    if isinstance(address, IPv4Address):
        return None
    if address in _IPV6_TO_IPV4:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _plain(address: Address) -> Address:
    """The address without the form in which IPv6 sockets show IPv4."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _split(text: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(text)
        return parts, parts.port
    except ValueError:
        raise ValueError("must be an absolute URL") from None


def _host(host: str) -> str:
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("must name a host") from None
    if (_literal(host) is None and not _NAME.fullmatch(host)) or "%" in host:
        raise ValueError("must name a host")
    return host


def _system_addresses(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(address[0]) for *_, address in found]
