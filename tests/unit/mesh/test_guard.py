"""Which addresses the service calls."""

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.outgoing.errors import PermanentFailure, TemporaryFailure
from mesh.outgoing.guard import Address, Guard, is_public, networks, parse

PUBLIC = ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
LOCAL = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "this host": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104 (no listener)
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "metadata": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"],
    "carrier": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "2001:db8::1", "fec0::1", "100::1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"],
    "IPv4 behind NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"],
    "IPv4 behind 6to4 and Teredo": ["2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001:0:7f00:1::1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet_may_be_called(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", [address for addresses in LOCAL.values() for address in addresses])
def test_no_other_address_may_be_called(address: str) -> None:
    assert not is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_form_of_ipv6(address: IPv4Address) -> None:
    number = int(address)
    forms = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80),
    ]
    assert {is_public(form) for form in forms} == {is_public(address)}


@given(st.ip_addresses(v=6))
def test_of_ipv6_only_what_is_assigned_for_the_public_may_be_called(address: IPv6Address) -> None:
    if is_public(address):
        assert int(address) >> 125 == 1 or int(address) >> 32 in {0xFFFF, 0x64FF9B << 64}


@pytest.mark.parametrize(
    ("text", "host", "port", "target", "origin"),
    [
        ("https://hooks.example.org/in?x=1", "hooks.example.org", 443, b"/in?x=1", "https://hooks.example.org"),
        ("https://Hooks.Example.ORG:8443", "hooks.example.org", 8443, b"/", "https://hooks.example.org:8443"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, b"/", "https://xn--bcher-kva.example"),
        ("https://[2606:4700::1111]/a", "2606:4700::1111", 443, b"/a", "https://[2606:4700::1111]"),
        ("https://my_host.example/%20", "my_host.example", 443, b"/%20", "https://my_host.example"),
    ],
)
def test_a_url_is_taken_apart(text: str, host: str, port: int, target: bytes, origin: str) -> None:
    url = parse(text)
    assert (url.host, url.port, url.target, url.origin) == (host, port, target, origin)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must begin with https://"),
        ("ftp://example.org/", "must begin with https://"),
        ("http://example.org/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https:///path", "must name a host"),
        ("https://exa%6dple.org/", "must name a host"),
        ("https://[fe80::1%25eth0]/", "must name a host|must be an absolute URL"),
        ('https://a"b.example/', "must name a host"),
        ("https://user@example.org/", "must not contain a user name or password"),
        ("https://user:secret@example.org/", "must not contain a user name or password"),
        ("https://example.org/#part", "must not contain a fragment"),
        ("https://example.org:99999/", "must be an absolute URL"),
        ("https://[::1/", "must be an absolute URL"),
        ("https://example.org/ä", "must have its path and query percent-encoded"),
        ("https://example.org/a b", "must not contain spaces"),
        ("https://example.org\\@127.0.0.1/", "must not contain spaces, backslashes"),
        ("https://example.org/\r\nX: y", "must not contain spaces"),
        ("https://example.org/" + "a" * 2048, "must have at most 2048 characters"),
        ("https://127.0.0.1/", "must not be an address that is not public"),
        ("https://[::ffff:169.254.169.254]/", "must not be an address that is not public"),
    ],
)
def test_what_can_never_be_called_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Guard().parse(text)


@given(st.text(max_size=60), st.sampled_from(["", "https://", "https://a.example/", "http://["]))
def test_any_text_is_a_url_or_an_error_that_says_why(text: str, begin: str) -> None:
    try:
        why, url = "", parse(begin + text)
    except ValueError as error:
        why, url = str(error), None
    assert why.startswith("must ") if url is None else url.host and url.target.isascii()


def resolved(guard: Guard, *, encrypted: bool = True) -> list[Address]:
    """The addresses of a name."""
    return asyncio.run(guard.addresses("hooks.example.org", 443, encrypted=encrypted))


def answering(*addresses: str, allowed: str = "") -> Guard:
    """A guard whose name server knows these addresses."""

    async def resolve(_host: str, _port: int) -> list[Address]:
        return [ip_address(address) for address in addresses]

    return Guard(networks(allowed), resolve)


def test_a_name_with_public_addresses_has_all_of_them() -> None:
    assert resolved(answering("8.8.8.8", "2606:4700::1111")) == [ip_address("8.8.8.8"), ip_address("2606:4700::1111")]


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "10.0.0.1"), ("8.8.8.8", "::ffff:10.0.0.1")])
def test_a_name_with_one_address_that_is_not_public_is_not_called(addresses: tuple[str, ...]) -> None:
    with pytest.raises(
        PermanentFailure, match=r"not called: hooks\.example\.org is at .*, which is not a public address"
    ):
        resolved(answering(*addresses))


def test_networks_that_are_allowed_may_be_called_also_without_encryption() -> None:
    guard = answering("10.1.2.3", "::ffff:10.1.2.4", allowed="10.1.0.0/16; fd00::/8")
    assert len(resolved(guard, encrypted=False)) == 2
    assert guard.parse("http://10.1.2.3/").port == 80
    with pytest.raises(ValueError, match="not public"):
        guard.parse("https://10.2.0.1/")


def test_what_is_public_is_never_called_without_encryption() -> None:
    with pytest.raises(PermanentFailure, match=r"8\.8\.8\.8, which may only be called encrypted"):
        resolved(answering("8.8.8.8", allowed="10.0.0.0/8"), encrypted=False)


def test_a_name_without_addresses_may_have_some_later() -> None:
    with pytest.raises(TemporaryFailure, match=r"hooks\.example\.org was not found"):
        resolved(answering())


def test_a_setting_that_is_no_list_of_networks_is_an_error() -> None:
    assert networks("") == ()
    assert networks(" 10.0.0.0/8 ;") == (IPv4Network("10.0.0.0/8"),)
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        networks("10.0.0.1/8")
