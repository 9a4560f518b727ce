import socket

import pytest

from apt_core.errors import ConfigError
from orchestrator.execution.address import check_address, check_private_cluster


def test_an_address_without_a_port_is_left_to_ray() -> None:
    check_address(None)
    check_address("auto")
    check_address("local")


def test_a_port_without_a_listener_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no Ray cluster at ray://127\.0\.0\.1:9"):
        check_address("ray://127.0.0.1:9")


def test_a_listener_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_job_server_is_no_cluster() -> None:
    with pytest.raises(ConfigError, match="aptune submit"):
        check_address("http://127.0.0.1:8265")


@pytest.mark.parametrize("mode", ["disabled", "Disabled", "", "off"])
def test_a_private_cluster_asks_for_a_token(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    check_private_cluster()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_private_cluster()
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(ConfigError, match="unset RAY_AUTH_MODE"):
        check_private_cluster()
