"""Allowed URLs and addresses, by example and against Python's `ipaddress`."""

import ipaddress
import socket

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mt3_model.errors import OptionError
from service.fetching.addresses import (
    LONGEST_URL,
    UrlRefusedError,
    check_url,
    is_refused,
    read_address,
    read_url,
)
from tests.examples import examples

V4 = st.ip_addresses(v=4)
REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::1",
    "2001:db8::1", "2001:10::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1",
    "2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1",
    "192.0.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1",
]  # fmt: skip
LOCAL = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "::1", "fd12::1"]


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_of_inner_networks_and_those_that_hold_others_are_refused(text):
    assert is_refused(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_opened(text):
    assert not is_refused(ipaddress.ip_address(text))
    assert not is_refused(ipaddress.ip_address(text), allow_private=True)


def test_a_deployment_that_opens_private_addresses_still_keeps_metadata_shut():
    assert all(not is_refused(ipaddress.ip_address(t), allow_private=True) for t in LOCAL)
    shut = set(REFUSED) - {"127.9.9.9", "172.31.255.255", "fc00::1"} - set(LOCAL)
    assert {"169.254.169.254", "100.100.100.200", "fd00:ec2::254", "0.0.0.0"} <= shut
    assert all(is_refused(ipaddress.ip_address(t), allow_private=True) for t in shut)


@pytest.mark.slow
@given(st.ip_addresses())
@settings(max_examples=examples(2_000))
def test_what_python_does_not_call_public_is_refused(address):
    is_public = address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_loopback
        or address.is_link_local or address.is_unspecified or address.is_private
    )  # fmt: skip
    if not is_public:
        assert is_refused(address)


@given(st.sampled_from(ipaddress._IPv4Constants._private_networks), st.data())
def test_every_corner_of_what_python_calls_private_is_refused(network, data):
    offset = data.draw(st.integers(0, network.num_addresses - 1))
    assert is_refused(network[offset])


@given(V4, st.sampled_from(["::ffff:{}", "64:ff9b::{}", "::{}", "64:ff9b:1::{}"]))
def test_an_address_inside_another_is_refused_whatever_it_is(address, form):
    assert is_refused(ipaddress.ip_address(form.format(address)))


@given(V4, st.integers(0, 2**80 - 1), st.integers(0, 2**64 - 1))
def test_so_are_6to4_and_teredo_and_isatap(address, rest, front):
    inner = int(address)
    assert is_refused(ipaddress.IPv6Address((0x2002 << 112) | (inner << 80) | rest))
    assert is_refused(ipaddress.IPv6Address((0x20010000 << 96) | (inner << 64) | front))
    for mark in (0x5EFE, 0x0200_5EFE):
        assert is_refused(ipaddress.IPv6Address((front << 64) | (mark << 32) | inner))


def spellings(address):
    """Spellings of an IPv4 address that resolvers and browsers accept beside the usual one."""
    number = int(address)
    a, b, c, d = address.packed
    yield str(number)
    yield hex(number)
    yield f"0{number:o}"
    yield f"{a}.{number & 0xFFFFFF}"
    yield f"{a}.{b}.{number & 0xFFFF}"
    yield f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"
    yield f"0{a:o}.0{b:o}.0{c:o}.0{d:o}"
    yield f"{a:03d}.{b:03d}.{c:03d}.{d:03d}" if a < 100 else f"0{a}.{b}.{c}.{d}"
    yield f"{a}.{b}.{c}.{d}."
    yield f"{a}.{b}.{c}.0x{d:x}"
    yield "".join(chr(ord(x) + 0xFEE0) if x.isdigit() else x for x in str(address))  # fullwidth
    yield f"%{ord(str(a)[0]):x}{str(a)[1:]}.{b}.{c}.{d}"


@given(V4)
@example(ipaddress.IPv4Address("127.0.0.1"))
@example(ipaddress.IPv4Address("169.254.169.254"))
@example(ipaddress.IPv4Address("8.8.8.8"))
def test_odd_spellings_of_addresses_are_refused_public_or_not(address):
    for host in spellings(address):
        for allow_private in (False, True):
            with pytest.raises(UrlRefusedError):
                read_url(f"http://{host}/a.wav", allow_private=allow_private)


@given(V4)
def test_other_scripts_dots_are_read_as_dots_before_the_address_is_judged(address):
    try:
        url = read_url(f"http://{str(address).replace('.', '。')}/")
    except UrlRefusedError:
        assert is_refused(address)
    else:
        assert url.host == str(address)
        assert not is_refused(address)


@given(st.ip_addresses())
@settings(max_examples=examples(500))
def test_a_plain_address_in_a_url_is_judged_like_the_address(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        read_url(f"https://{host}/")
    except UrlRefusedError:
        assert is_refused(address)
    else:
        assert not is_refused(address)


@pytest.mark.slow
@given(st.text(alphabet="0123456789xXabcdef.-", min_size=1, max_size=20))
@settings(max_examples=examples(2_000))
def test_what_the_system_reads_as_an_address_without_asking_anybody_is_plain_or_refused(host):
    try:
        read_url(f"http://{host}/")
    except UrlRefusedError:
        return
    if read_address(host) is None:
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(host)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://host.example/a", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://host.example/", "scheme"),
        ("host.example/a.wav", "scheme"),
        ("", "scheme"),
        ("http:///a.wav", "host"),
        ("http://user@host.example/", "user"),
        ("http://user:pass@host.example/", "user"),
        ("http://@host.example/", "user"),
        ("https://host.example:8443/", "port"),
        ("https://host.example:22/", "port"),
        ("https://host.example:99999/", "port"),
        ("http://localhost/", "local"),
        ("http://LOCALHOST/", "local"),
        ("http://a.localhost/", "local"),
        ("http://metadata.google.internal/", "local"),
        ("http://postgres/", "local"),
        ("http://printer.local/", "local"),
        ("http://host.example./", "plain name"),
        ("http://-a.example/", "plain name"),
        ("http://a..example/", "plain name"),
        ("http://ho%73t.example/", "plain name"),
        ("http://[fe80::1%25eth0]/", "plain name|read"),
        ("http://[::1]/", "is not public"),
        ("http://127.0.0.1/", "is not public"),
        ("http://127.1/", "read|decimals"),
        ("http://2130706433/", "decimals"),
        ("http://host.example\\@127.0.0.1/", "backslash"),
        ("http://host.example/a b", "space"),
        ("http://host.example/a\r\nX: y", "control"),
        ("http://host.example/" + "a" * LONGEST_URL, "longer"),
        ("http://" + "a." * 130 + "example/", "plain name"),
        ("http://xn--a.example\u3002127.0.0.1/", "read|plain|decimals"),
    ],
)
def test_urls_are_refused_by_their_text(url, reason):
    with pytest.raises(UrlRefusedError, match=reason):
        read_url(url)
    with pytest.raises(OptionError, match=f"inputs.0.url: .*({reason})") as caught:
        check_url("inputs.0.url", url)
    assert caught.value.parameter == "inputs.0.url"


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example/a.wav?X-Signature=a%2Fb&c=d",
        "http://host.example:80/a",
        "https://host.example:443/a%20b",
        "HTTPS://Host.Example/A",
        "https://8.8.8.8/a",
        "https://[2606:4700::1111]/a",
        "https://bücher.example/",
        "https://a_b.s3-eu-west-1.host.example/",
        "https://3com.example/",
    ],
)
def test_plain_urls_are_opened(url):
    assert read_url(url) == httpx2.URL(url)
    assert read_url(url + "#fragment") == httpx2.URL(url)


@pytest.mark.slow
@given(st.text(max_size=60) | st.from_regex(r"https?://[^/]{0,30}/?.{0,10}", fullmatch=True))
@settings(max_examples=examples(500))
def test_any_text_is_read_or_refused(text):
    try:
        url = read_url(text)
    except UrlRefusedError:
        pass
    else:
        assert url.scheme in {"http", "https"}
        assert not url.userinfo
        assert url.host


def test_a_deployment_may_open_local_names_and_every_port():
    for url in ("http://localhost:9000/a", "http://minio:9000/a", "http://10.1.2.3:8080/"):
        assert read_url(url, allow_private=True) == httpx2.URL(url)
    for url in ("http://169.254.169.254/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/",
                "http://host.example:0/", "http://host.example:99999/"):  # fmt: skip
        with pytest.raises(UrlRefusedError):
            read_url(url, allow_private=True)
