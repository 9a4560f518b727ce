"""Where a cluster's job server is: which address applies, and whether it answers, before Ray."""

import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from apt_core.errors import ConfigError
from orchestrator.binding import is_loopback_host
from orchestrator.execution.address import check_address

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""As `ray job submit` reads them, the first one winning."""
ANSWER_TIMEOUT_S = 3.0
_NOT_FOUND = 404


def job_address(given: str | None) -> str:
    """The job server's address: as given, else from the environment, else this machine's default.

    Ray's own client lets the environment win over what it is given; here the command line does.

    Args:
        given: What ``--address`` said.

    Returns:
        ``http://host:8265``, or an address of the cluster that Ray resolves.
    """
    found = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
    return (given or found or DEFAULT_ADDRESS).rstrip("/")


def check_job_server(address: str) -> None:
    """Ask the job server for its version; other spellings than http are asked for a connection.

    Args:
        address: What `job_address` returned.

    Raises:
        ConfigError: If nobody answers there within seconds, or somebody else does.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"}:
        check_address(address)
        return
    handlers = [urllib.request.ProxyHandler({})] if is_loopback_host(parts.hostname or "") else []
    try:
        # The scheme is http or https: checked above.
        opener = urllib.request.build_opener(*handlers)
        opener.open(f"{address}/api/version", timeout=ANSWER_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:  # it is there; whether it serves us, Ray's client says
        if error.code == _NOT_FOUND:
            raise no_job_server(address, "what answers there is no Ray dashboard") from error
    except (OSError, ValueError) as error:
        raise no_job_server(address, str(getattr(error, "reason", error))) from error


def no_job_server(address: str, problem: str) -> ConfigError:
    """The message for an address without a job server."""
    first = (problem.strip().splitlines() or ["no answer"])[0]
    return ConfigError(
        f"--address: no Ray job server at {address} ({first}); start a cluster with its dashboard "
        "(pip install 'ray[default]', ray start --head), forward its port (ray dashboard "
        "cluster.yaml), or correct --address or $RAY_ADDRESS"
    )
