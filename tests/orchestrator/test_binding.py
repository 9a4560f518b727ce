import pytest

from apt_core.errors import ConfigError
from orchestrator.binding import check_binding, is_loopback_host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_this_machines_own_addresses_need_no_password(host: str) -> None:
    assert is_loopback_host(host)
    check_binding("a server", host, is_protected=False, todo="")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.nip.io", ""]
)
def test_an_address_that_others_reach_is_refused_without_one(host: str) -> None:
    assert not is_loopback_host(host)
    with pytest.raises(
        ConfigError, match=r"a server would listen on .* password nor token; lock it"
    ):
        check_binding("a server", host, is_protected=False, todo="lock it")
    check_binding("a server", host, is_protected=True, todo="")
