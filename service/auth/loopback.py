"""Restricts a server without keys to the loopback addresses of its machine."""

import ipaddress
import socket

from mt3_model.errors import OptionError


def is_loopback(address: str) -> bool:
    """Return whether an IP address can be reached only from its own machine."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def require_private_binding(host: str) -> None:
    """Refuse to listen where other machines could reach a server without keys.

    Args:
        host: address to listen on, or a name that resolves to some.

    Raises:
        OptionError: it can be reached from other machines.
    """
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host or "::", None)}
    except (OSError, UnicodeError):
        return  # no such address: listening fails with a better message
    if not all(is_loopback(str(address)) for address in found):
        raise OptionError(
            "host",
            f"host is {host!r}, which other machines can reach, and there are no API keys; set"
            " MT3_API_KEYS_FILE or MT3_API_KEYS (mt3 keys new creates a key), or allow everyone"
            " with --allow-anonymous (MT3_ALLOW_ANONYMOUS=true)",
        )
