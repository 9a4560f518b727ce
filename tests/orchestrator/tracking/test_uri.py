import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from apt_core.errors import TrackingError
from orchestrator.tracking.uri import (
    bypass_proxy_for_loopback,
    check_tracking_uri,
    redact,
    resolve_tracking_uri,
)


class Answers(http.server.BaseHTTPRequestHandler):
    code = 200
    seen: list[tuple[str, str | None]] = []  # noqa: RUF012 - reset by the fixture

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Answers.code, Answers.seen = 200, []
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000/x", "http://***@host:5000/x"),
        ("postgresql+psycopg2://u:p%40ss@db/x", "postgresql+psycopg2://***@db/x"),
        ("failed for https://tok@a and http://b:c@d", "failed for https://***@a and http://***@d"),
        ("http://host/a@b", "http://host/a@b"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_credentials_are_never_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_the_configured_address_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_tracking_uri(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://env")
    assert resolve_tracking_uri(None) == "http://env"
    assert resolve_tracking_uri("http://configured") == "http://configured"


def test_a_server_that_answers_is_accepted_and_gets_no_credentials(server: str) -> None:
    check_tracking_uri(f"http://user:secret@{server}/prefix/")
    assert Answers.seen == [("/prefix/health", None)]


def test_a_server_without_a_health_page_is_accepted(server: str) -> None:
    Answers.code = 404
    check_tracking_uri(f"http://{server}")


@pytest.mark.parametrize(
    ("code", "match"), [(401, "PASSWORD"), (403, "HTTP 403"), (503, "HTTP 503")]
)
def test_a_server_that_refuses_is_an_error(server: str, code: int, match: str) -> None:
    Answers.code = code
    with pytest.raises(TrackingError, match=match):
        check_tracking_uri(f"http://{server}")


def test_a_login_page_is_no_error_when_there_are_credentials(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answers.code = 401
    check_tracking_uri(f"http://user:secret@{server}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    check_tracking_uri(f"http://{server}")


def test_an_absent_server_is_an_error_that_says_what_to_do_and_hides_the_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TrackingError, match=r"tracking\.uri.*tracking\.enabled=false") as caught:
        check_tracking_uri(f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)


def test_a_silent_server_is_an_error_within_two_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"no answer|timed out"):
            check_tracking_uri(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 2.5


def test_a_malformed_port_is_an_error() -> None:
    with pytest.raises(TrackingError, match="tracking server"):
        check_tracking_uri("http://127.0.0.1:notaport")


def test_databases_are_not_asked() -> None:
    check_tracking_uri("sqlite:///nowhere.db")


def test_only_loopback_bypasses_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("NO_PROXY", "intern")
    bypass_proxy_for_loopback("http://mlflow.example:5000")
    assert os.environ["NO_PROXY"] == "intern"
    bypass_proxy_for_loopback("http://127.0.0.1:5000")
    bypass_proxy_for_loopback("http://127.0.0.1:5000")
    assert os.environ["NO_PROXY"].split(",") == ["intern", "127.0.0.1", "::1", "localhost"]
