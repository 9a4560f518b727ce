"""Where what we start may listen: on this machine only, unless strangers are kept out."""

import ipaddress

from apt_core.errors import ConfigError

LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"


def is_loopback_host(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_binding(service: str, host: str, *, is_protected: bool, todo: str) -> None:
    """Refuse to let the network at a service that asks for neither password nor token.

    Args:
        service: What it is called.
        host: Where it would listen.
        is_protected: Whether it asks whoever comes for a password or a token.
        todo: How to make it ask, or stay on this machine.

    Raises:
        ConfigError: If others could reach it and it would serve them.
    """
    if not is_protected and not is_loopback_host(host):
        raise ConfigError(
            f"{service} would listen on {host}, for whoever can reach this machine, and ask for "
            f"neither password nor token; {todo}"
        )
