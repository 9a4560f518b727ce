"""Tracking addresses: which one applies, whether it answers, how to show it safely."""

import http.client
import os
import re
import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import SplitResult, urlsplit

from apt_core.errors import TrackingError
from orchestrator.binding import is_loopback_host

URI_VARIABLE = "MLFLOW_TRACKING_URI"
QUIET_ENV = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Writes nothing to the terminal."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_CREDENTIAL_VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_REFUSALS = {401, 403}
_SERVER_ERROR = 500


def resolve_tracking_uri(configured: str | None) -> str | None:
    """The configured address, else ``$MLFLOW_TRACKING_URI``, else None: start a local server."""
    return configured or os.environ.get(URI_VARIABLE) or None


def redact(text: str) -> str:
    """The text with user names and passwords in addresses replaced by ``***``."""
    return _CREDENTIALS.sub("***@", text)


def is_loopback(uri: str) -> bool:
    """Whether the address is on this machine."""
    return is_loopback_host(urlsplit(uri).hostname or "")


def bypass_proxy_for_loopback(uri: str) -> None:
    """Keep requests to this machine away from an HTTP proxy that the environment names."""
    if not is_loopback(uri):
        return
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        missing = sorted(_LOOPBACK.difference(hosts))
        os.environ[name] = ",".join([*hosts, *missing])


def check_tracking_uri(uri: str, *, timeout_s: float = 2.0) -> None:
    """Ask the server whether it is there. No credentials are sent, and mlflow is not imported.

    Args:
        uri: The address; other schemes than http and https are not checked here.
        timeout_s: When to give up, name resolution included.

    Raises:
        TrackingError: If it does not answer in time, or would refuse us.
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return
    problems = ["no answer"]
    # A thread, because name resolution knows no timeout.
    thread = threading.Thread(
        target=lambda: problems.append(_problem(parts, timeout_s)),
        name="tracking-check",
        daemon=True,
    )
    thread.start()
    thread.join(timeout_s)
    if problems[-1]:
        raise TrackingError(
            f"tracking.uri: the tracking server does not serve us: {problems[-1]} "
            f"(got {redact(uri)}); start it, correct tracking.uri or ${URI_VARIABLE}, leave both "
            "out to use a local server, or set tracking.enabled=false"
        )


def _problem(parts: SplitResult, timeout_s: float) -> str:
    """Why the server cannot be used; empty if it can."""
    host = parts.netloc.rpartition("@")[2]
    url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/health"
    bypass_proxy_for_loopback(url)
    try:
        # The scheme is http or https: the caller has checked it.
        with urllib.request.urlopen(url, timeout=timeout_s, context=_tls(parts.scheme)):
            return ""
    except urllib.error.HTTPError as error:
        return _refusal(error.code, has_credentials=host != parts.netloc)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def _refusal(code: int, *, has_credentials: bool) -> str:
    if code in _REFUSALS:
        if has_credentials or any(os.environ.get(name) for name in _CREDENTIAL_VARIABLES):
            return ""
        todo = "if it wants a password, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return f"HTTP {code}; {todo}"
    return f"HTTP {code}" if code >= _SERVER_ERROR else ""


def _tls(scheme: str) -> ssl.SSLContext | None:
    """The same trust that MLflow's own client will have."""
    if scheme != "https":
        return None
    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
