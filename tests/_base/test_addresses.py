"""Which addresses are public."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanogpt_images._base.addresses import is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "198.17.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]
NOT_PUBLIC = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "this network"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "CGNAT, first"),
    ("100.127.255.255", "CGNAT, last"),
    ("100.100.100.200", "metadata service in CGNAT space"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback, last"),
    ("169.254.169.254", "link-local metadata service"),
    ("168.63.129.16", "Azure's control service"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private, last"),
    ("192.0.0.192", "IETF protocol assignments, a metadata service"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4 relays"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast, last"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::8.8.8.8", "IPv4-compatible, obsolete"),
    ("::ffff:127.0.0.1", "mapped loopback"),
    ("::ffff:10.0.0.1", "mapped private"),
    ("::ffff:a9fe:a9fe", "mapped link-local in hexadecimal"),
    ("::ffff:0:127.0.0.1", "translated"),
    ("64:ff9b::127.0.0.1", "NAT64 of loopback"),
    ("64:ff9b::10.0.0.1", "NAT64 of private"),
    ("64:ff9b:1::8.8.8.8", "NAT64 for local use"),
    ("2002:7f00:1::1", "6to4 of loopback"),
    ("2002:c0a8:101::1", "6to4 of private"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("100::1", "discard"),
    ("fc00::1", "unique local"),
    ("fd00:ec2::254", "metadata service in unique local space"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local with a zone"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("4000::1", "not handed out"),
]
NOT_AN_ADDRESS = [
    "",
    "localhost",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "8.8",
    "08.8.8.8",
    "8.8.8.8.",
    "[::1]",
    "8.8.8.8:80",
    " 8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_accepted(address: str) -> None:
    """Addresses of the public internet, also carried in IPv6, and neighbours of refused blocks are public."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address", [pytest.param(*case[:1], id=f"{case[0]} {case[1]}") for case in NOT_PUBLIC]
)
def test_other_addresses_are_refused(address: str) -> None:
    """An address of a special-purpose block is not public, however it is wrapped."""
    assert not is_public(address)


@pytest.mark.parametrize("text", NOT_AN_ADDRESS)
def test_unusual_spellings_are_refused(text: str) -> None:
    """What is not an address in its usual spelling is not public, whatever a resolver would make of it."""
    assert not is_public(text)


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("192.0.0.9"))
def test_ipv4_is_never_looser_than_the_standard_library(ip: ipaddress.IPv4Address) -> None:
    """No IPv4 address is public that Python's own tables call private or multicast."""
    if is_public(str(ip)):
        assert not ip.is_private
        assert not ip.is_multicast


@given(st.ip_addresses(v=6))
def test_ipv6_is_never_looser_than_the_standard_library(ip: ipaddress.IPv6Address) -> None:
    """No IPv6 address is public that Python's own tables call private, unless it carries a public IPv4 one."""
    carries = ip.ipv4_mapped or ip.sixtofour or ip in ipaddress.IPv6Network("64:ff9b::/96")
    if is_public(str(ip)) and not carries:
        assert ip.is_global
        assert not ip.is_multicast


@given(st.ip_addresses(v=4))
def test_carried_addresses_are_judged_as_themselves(ip: ipaddress.IPv4Address) -> None:
    """Mapped, 6to4 and NAT64 forms of an IPv4 address are public exactly when it is."""
    number = int(ip)
    forms = (0xFFFF << 32 | number, 0x2002 << 112 | number << 80 | 1, 0x64FF9B << 96 | number)
    for form in forms:
        assert is_public(str(ipaddress.IPv6Address(form))) == is_public(str(ip))


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    """Nothing that is asked raises."""
    assert is_public(text) in (True, False)
