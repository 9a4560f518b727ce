import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from apt_core.errors import ConfigError
from orchestrator.execution import job_address as module
from orchestrator.execution.job_address import check_job_server, job_address


class Answers(http.server.BaseHTTPRequestHandler):
    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code if self.path == "/api/version" else 500)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Answers.code = 200
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert job_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert job_address(None) == "http://head:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://api:8265/")
    assert job_address(None) == "http://api:8265"
    assert job_address("http://mine:1/") == "http://mine:1"


@pytest.mark.parametrize("code", [200, 401, 500])
def test_whoever_answers_is_left_to_rays_client(server: str, code: int) -> None:
    Answers.code = code
    check_job_server(server)


def test_a_server_of_something_else_is_told_apart(server: str) -> None:
    Answers.code = 404
    with pytest.raises(ConfigError, match="no Ray dashboard"):
        check_job_server(server)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_without_anybody_is_refused_at_once(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match="ray start --head"):
        check_job_server(address)
    assert time.monotonic() - began < 3


def test_a_port_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ConfigError, match="timed out"):
            check_job_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
