"""Is there anybody at a Ray address? Asked before Ray, which would take minutes to give up."""

import os
import socket

from apt_core.errors import ConfigError
from orchestrator.binding import ANYWHERE, check_binding

CONNECT_TIMEOUT_S = 2.0
PRIVATE = (None, "", "local")
"""What names no cluster: one of our own is started."""


def check_address(address: str | None) -> None:
    """Ask ``host:port`` for a connection; other spellings (``auto``) are left to Ray.

    Args:
        address: `orchestration.address` or ``$RAY_ADDRESS``.

    Raises:
        ConfigError: If nobody listens there, or it is the address of something else.
    """
    if (address or "").startswith(("http://", "https://")):
        raise ConfigError(
            f"orchestration.address: {address} is a job server, not a cluster's own address; hand "
            "the grid to it with aptune submit, or name the cluster by host:port (usually 6379)"
        )
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise no_cluster(address, error) from error


def check_private_cluster() -> None:
    """Ray asks for a token unless told not to, and some ports of any cluster face the network.

    Raises:
        ConfigError: If it has been told not to.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    check_binding(
        "a private Ray cluster",
        ANYWHERE,
        is_protected=mode.lower() == "token",
        todo=f"unset RAY_AUTH_MODE (it is {mode}) or set it to token: Ray makes a token by itself",
    )


def no_cluster(address: str | None, error: Exception) -> ConfigError:
    """The message for an address without a cluster."""
    return ConfigError(
        f"orchestration.address: no Ray cluster at {address} ({str(error).splitlines()[0]}); start "
        "one (ray start --head), correct the address or $RAY_ADDRESS, or leave both unset for a "
        "private cluster on this machine"
    )
