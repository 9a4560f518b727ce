"""Cluster files for `ray up`: valid for Ray, closed, and with drivers on the head only."""

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.execution.cluster import DRIVER_RESOURCE
from tests.deploy_files import Tree, read

CLUSTERS = ("cluster.yaml", "deploy/cluster-aws.yaml")


@pytest.fixture(scope="module")
def ray_schema() -> Tree:
    import ray

    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    content: Tree = json.loads(schema.read_text())
    return content


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_file_satisfies_ray(
    name: str, ray_schema: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.setenv("HOME", str(tmp_path))
    config = dict(read(name))
    jsonschema.validate(config, ray_schema)
    validate_config(prepare_config(config))


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_file_with_a_misspelt_key_is_refused(name: str, ray_schema: Tree) -> None:
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        jsonschema.validate({**read(name), "max_wrokers": 3}, ray_schema)


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_head_of_a_cluster_file_outlives_itself_and_alone_has_drivers(name: str) -> None:
    config = read(name)
    heads = " ".join(config["docker"]["head_run_options"])
    assert "--env=RAY_REDIS_ADDRESS=" in heads
    assert "--env=RAY_external_storage_namespace=" in heads
    head, worker = (" ".join(config[f"{kind}_start_ray_commands"]) for kind in ("head", "worker"))
    assert "--redis-password=" in head
    assert f'"{DRIVER_RESOURCE}": 1000' in head
    assert DRIVER_RESOURCE not in worker
    assert "--dashboard-host=127.0.0.1" in head
    everywhere = " ".join(config["docker"]["run_options"])
    assert "--env=RAY_AUTH_MODE=token" in everywhere
    assert "PASSWORD" not in everywhere + heads


def test_nodes_of_the_cloud_that_may_vanish_are_never_the_head_and_are_asked_for_first() -> None:
    config = read("deploy/cluster-aws.yaml")
    types = config["available_node_types"]
    spot = {
        name
        for name, kind in types.items()
        if kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    }
    assert spot == {"gpu_preemptible"}
    assert config["head_node_type"] not in spot
    with_drivers = {name for name, kind in types.items() if DRIVER_RESOURCE in kind["resources"]}
    assert with_drivers == {config["head_node_type"]}
    assert types["gpu_preemptible"]["priority"] > types["gpu"]["priority"]
    assert sum(kind["max_workers"] for kind in types.values()) == config["max_workers"]
