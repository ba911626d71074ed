"""Check the URLs that a caller gives, and the addresses that a connection goes to.

The server opens URLs of its callers (recordings, webhooks) from inside an operator's network. A
caller must not reach that network through it (server-side request forgery). Two checks:

    read_url        the text: scheme, port, no user, and a host in its one plain spelling
    refuse_address  an address, before it is connected to: public, or refused

The first is cheap, needs no network, and is also made at submission, so that most bad URLs are
refused early. The second is the actual protection: `service/fetching/guarded_transport.py` makes it
for the very address that it connects to. Addresses are judged by lists from IANA's registries of
special-purpose addresses, because what `ipaddress` calls global changes with Python's patch level
(a test checks that this module never allows more).
"""

import ipaddress
import re

import httpx2

from mt3_model.errors import OptionError

LONGEST_URL = 2_048
"""Characters: the length that browsers, proxies and servers support; a signed link has some 600."""
_SCHEMES = ("https", "http")
_PORTS = (80, 443)
_LARGEST_PORT = 65_535
_LONGEST_NAME = 253
_AUTHORITY_END = re.compile(r"[/?#]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "home", "lan", "corp", "arpa")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 is this machine
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers; a cloud's metadata (100.100.100.200)
        "127.0.0.0/8",  # this machine
        "168.63.129.16/32",  # Azure's own service inside each machine, on a public address
        "169.254.0.0/16",  # link-local; the clouds' metadata (169.254.169.254)
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata (192.0.0.192)
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # tunnels (AMT)
        "192.88.99.0/24",  # 6to4 relays, gone
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks of network devices
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""All addresses that IANA has assigned. Outside are loopback, unspecified, link-local, unique
local, site-local, multicast, and the forms that hold an IPv4 address at their end: mapped
(``::ffff:0:0``), compatible (``::``), translated (NAT64: ``64:ff9b::`` and ``64:ff9b:1::``)."""
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo (2001::/32), benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in bits 16 to 48
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""Bits 64 to 96 of an address that holds an IPv4 address at its end (RFC 5214)."""
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8",
        "::1/128", "fc00::/7",
    )
)  # fmt: skip
"""Networks that ``allow_private`` allows: this machine and other machines of the deployment.
Link-local addresses and those of clouds' metadata stay forbidden."""
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe")
)
"""Metadata addresses of clouds (Alibaba, AWS, Google, Oracle) in networks that may be allowed."""


class UrlRefusedError(Exception):
    """A URL is refused; the message says why, and names no address but one in the URL."""


def check_url(parameter: str, url: str, *, allow_private: bool = False) -> None:
    """Refuse, at submission, a URL that can never be fetched; needs no network.

    Args:
        parameter: the field's name, for the error.
        url: the URL of the request.
        allow_private: Whether the deployment opens private addresses.

    Raises:
        OptionError: It is refused; the message says why.
    """
    try:
        read_url(url, allow_private=allow_private)
    except UrlRefusedError as error:
        raise OptionError(parameter, f"{parameter}: {error}") from error


def read_url(url: str, *, allow_private: bool = False) -> httpx2.URL:
    """Parse a URL, and refuse it if its text shows that it may not be opened.

    The parser is that of httpx2, which also makes the request: such checks are circumvented where
    two parsers disagree about the end of the host.

    Args:
        url: the URL of the request, or of a redirect.
        allow_private: whether to allow any port, and names of the local network.

    Raises:
        UrlRefusedError: The URL may not be opened.
    """
    if len(url) > LONGEST_URL:
        raise UrlRefusedError(f"the URL is longer than {LONGEST_URL} characters")
    if "\\" in url or not url.isprintable() or any(letter.isspace() for letter in url):
        raise UrlRefusedError("the URL contains a backslash, a space or a control character")
    try:
        parsed = httpx2.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx2.InvalidURL, ValueError) as error:  # ValueError: of idna
        raise UrlRefusedError("the URL cannot be read") from error
    if parsed.scheme not in _SCHEMES:
        raise UrlRefusedError("the URL's scheme is not https or http")
    if parsed.userinfo or "@" in _AUTHORITY_END.split(url.partition("//")[2], maxsplit=1)[0]:
        raise UrlRefusedError("the URL contains a user or password; expected none")
    if parsed.port is not None and parsed.port not in _PORTS and not allow_private:
        raise UrlRefusedError("the URL's port is not 443 or 80")
    if parsed.port is not None and not 0 < parsed.port <= _LARGEST_PORT:
        raise UrlRefusedError("the URL's port is not valid")
    _check_host(host, allow_private=allow_private)
    return parsed.copy_with(fragment=None)


def read_address(text: str) -> IPAddress | None:
    """Parse an address in its usual spelling; return None for a name or an address with a zone."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def is_refused(address: IPAddress, *, allow_private: bool = False) -> bool:
    """Return whether connections to an address are forbidden.

    Args:
        address: the address of a resolved name, or from a URL.
        allow_private: Whether the deployment opens private addresses.
    """
    if allow_private and address not in _METADATA and _is_in(address, _PRIVATE):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return _is_in(address, _REFUSED_V4)
    if address.scope_id is not None or address not in _PUBLIC_V6:
        return True
    return _is_in(address, _REFUSED_V6) or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP


def _is_in(
    address: IPAddress, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
) -> bool:
    return any(address in network for network in networks)  # of another version: never in it


def _check_host(host: str, *, allow_private: bool) -> None:
    """Refuse a host that is neither a DNS name nor an address in its usual spelling.

    Resolvers turn ``2130706433``, ``0x7f.1`` and ``127.1`` into addresses. So a host whose last
    label is a number is refused, unless it is four plain decimals.
    """
    address = read_address(host)
    if address is not None:
        if is_refused(address, allow_private=allow_private):
            raise UrlRefusedError("the URL's address is not public")
        return
    labels = host.split(".")
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefusedError(
            "the URL's host is not a plain name or address: expected letters, digits, hyphens and"
            " dots, and no dot at the end"
        )
    if _NUMBER.fullmatch(labels[-1]):
        raise UrlRefusedError("the URL's address is not written as four decimals or in brackets")
    if not allow_private and (len(labels) == 1 or labels[-1] in _LOCAL_NAMES):
        raise UrlRefusedError("the URL's host is a name of a local network")
