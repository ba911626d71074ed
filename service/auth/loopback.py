"""Which addresses a server without keys may listen on: those of its own machine."""

import ipaddress
import socket

from mt3_model.errors import OptionError


def is_loopback(address: str) -> bool:
    """Whether an IP address is reached from its own machine only."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def require_private_binding(host: str) -> None:
    """Refuses to listen where other machines reach a server without keys.

    Args:
        host: What is listened on: an address, or a name that stands for some.

    Raises:
        OptionError: It is reached from elsewhere.
    """
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host or "::", None)}
    except OSError:
        return  # no such address: listening will fail, and says so better
    if not all(is_loopback(str(address)) for address in found):
        raise OptionError(
            "host",
            f"host is {host!r}, which other machines reach, and there are no API keys; set"
            " MT3_API_KEYS_FILE or MT3_API_KEYS (mt3 keys new makes one), or allow everybody with"
            " --allow-anonymous (MT3_ALLOW_ANONYMOUS=true)",
        )
