"""The compose file: who may speak to whom, where secrets are, in which order things start."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy_files import PINNED, ROOT, Tree, compose_services, read

OURS = {"aptune:cpu", "aptune:cuda", "aptune:store", "aptune:tracking"}
"""Built from this checkout; every other image has a whole version in its tag."""


@pytest.fixture(scope="module")
def services() -> Mapping[str, Tree]:
    return compose_services()


def test_compose_starts_what_a_team_needs(services: Mapping[str, Tree]) -> None:
    assert set(services) >= {"head", "worker", "tracking", "prepare", "postgres", "redis", "store"}
    assert services["worker"]["deploy"]["replicas"] == 2


def test_compose_publishes_on_loopback_only(services: Mapping[str, Tree]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_keeps_databases_in_networks_without_a_way_out(
    services: Mapping[str, Tree],
) -> None:
    networks = read("docker/compose.yaml")["networks"]
    for name in ("postgres", "redis", "store"):
        assert all(networks[network]["internal"] for network in services[name]["networks"]), name
    with_state = {name for name, service in services.items() if "state" in service["networks"]}
    assert with_state == {"head", "redis"}


def test_every_service_of_compose_is_confined_and_pinned(services: Mapping[str, Tree]) -> None:
    for name, service in services.items():
        assert service["image"] in OURS or PINNED.fullmatch(service["image"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["image"] in OURS or service["user"] == name, name
        is_once = name in ("prepare", "sweep")
        assert is_once or "healthcheck" in service, name


def test_secrets_of_compose_are_files_that_the_script_makes(services: Mapping[str, Tree]) -> None:
    declared = read("docker/compose.yaml")["secrets"]
    (names,) = re.findall(r"for name in ([\w ]+);", (ROOT / "docker/make-secrets.sh").read_text())
    assert set(declared) == set(names.split())
    for name, service in services.items():
        environment = service.get("environment", {})
        files = {
            Path(value).name for value in environment.values() if value.startswith("/run/secrets/")
        }
        assert files <= set(service.get("secrets", [])), name
        bare = [key for key in environment if re.search(r"PASSWORD$|SECRET|TOKEN$", key)]
        assert [key for key in bare if not key.startswith("FROM_FILE_")] == [], name


def test_the_database_is_migrated_once_and_before_the_server(services: Mapping[str, Tree]) -> None:
    assert services["prepare"]["command"] == ["prepare-tracking"]
    assert services["prepare"]["restart"] == "no"
    after = services["tracking"]["depends_on"]["prepare"]["condition"]
    assert after == "service_completed_successfully"
    script = (ROOT / "docker/prepare-tracking.sh").read_text()
    assert "mlflow db upgrade" in script
    assert "mlflow.server.auth db upgrade" in script


def test_the_head_of_compose_outlives_itself_at_the_same_address(
    services: Mapping[str, Tree],
) -> None:
    head = services["head"]
    assert head["environment"]["RAY_REDIS_ADDRESS"] == "redis:6379"
    assert head["environment"]["RAY_external_storage_namespace"]
    assert head["restart"] == "unless-stopped"
    assert head["networks"]["ray"]["ipv4_address"]
    assert "appendonly yes" in (ROOT / "docker/redis.conf").read_text()


def test_compose_builds_from_dockerfiles_that_exist(services: Mapping[str, Tree]) -> None:
    files = {service["build"]["dockerfile"] for service in services.values() if "build" in service}
    assert len(files) == 3
    assert all((ROOT / name).is_file() for name in files)
