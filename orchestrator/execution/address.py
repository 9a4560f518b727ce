"""Is there anybody at a Ray address? Asked before Ray, which would take minutes to give up."""

import socket

from apt_core.errors import ConfigError

CONNECT_TIMEOUT_S = 2.0


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


def no_cluster(address: str | None, error: Exception) -> ConfigError:
    """The message for an address without a cluster."""
    return ConfigError(
        f"orchestration.address: no Ray cluster at {address} ({str(error).splitlines()[0]}); start "
        "one (ray start --head), correct the address or $RAY_ADDRESS, or leave both unset for a "
        "private cluster on this machine"
    )
