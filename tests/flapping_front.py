"""A front before an HTTP server that fails by a script: a tracking server on its worst day."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PASS = "pass"
FAILURES = ("cut", "swallow", "busy")
"""Not forwarded; forwarded, but the answer is lost; answered with 503."""
NOT_FORWARDED = {"host", "connection", "transfer-encoding", "content-length"}


def flaps(count: int, seed: int) -> list[str]:
    """`count` times up for one to three requests, then down for one to three."""
    chance = random.Random(seed)
    script: list[str] = []
    for _ in range(count):
        script += [PASS] * chance.randint(1, 3)
        script += chance.choices(FAILURES, k=chance.randint(1, 3))
    return script


class Front:
    """What happens to the requests, in their order; behind the script's end all pass.

    Args:
        uri: The server.
    """

    def __init__(self, uri: str) -> None:
        self.host = urlsplit(uri).netloc
        self.uri = ""
        self._script: list[str] = []
        self._is_down = False
        self._lock = threading.Lock()

    def follow(self, script: Sequence[str]) -> None:
        """Do this from the next request on."""
        with self._lock:
            self._script = list(script)

    def go(self, *, down: bool) -> None:
        """Fail every request from now on, or let the script decide again."""
        self._is_down = down

    @property
    def num_left(self) -> int:
        """How much of the script is still to come."""
        return len(self._script)

    def next_fate(self) -> str:
        """What happens to one more request."""
        with self._lock:
            if self._is_down:
                return FAILURES[0]
            return self._script.pop(0) if self._script else PASS


@contextmanager
def flapping_front(uri: str) -> Iterator[Front]:
    """A front on a port of its own."""
    front = Front(uri)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"front": front}))
    server.daemon_threads = True
    front.uri = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    front: Front
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        fate = self.front.next_fate()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fate == "busy":
            self._answer(503, {}, b"busy")
        elif fate != "cut":
            status, headers, answer = self._forward(body)
            if fate == PASS:
                self._answer(status, headers, answer)
        self.close_connection = fate != PASS

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - its names

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in NOT_FORWARDED}
        connection = HTTPConnection(self.front.host, timeout=60)
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {*NOT_FORWARDED, "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
