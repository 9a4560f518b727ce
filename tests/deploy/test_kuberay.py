"""The manifests for KubeRay: its fields, closed, not root, and like the compose file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from orchestrator.execution.cluster import DRIVER_RESOURCE
from tests.deploy_files import DOCKERFILES, ROOT, Tree, compose_services, read, stages

NODE_ENVIRONMENT = ("RAY_gcs_rpc_server_reconnect_timeout_s", "MLFLOW_TRACKING_USERNAME")
# What KubeRay 1.6 defines (its page "KubeRay CRD API reference"); a field that is not here is
# dropped by the API server, or refused.
FIELDS: Mapping[str, set[str]] = {
    "cluster": {
        *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec"),
        *("gcsFaultToleranceOptions", "headServiceAnnotations", "managedBy", "rayVersion"),
        *("suspend", "workerGroupSpecs"),
    },
    "authOptions": {"mode", "secretName", "enableK8sTokenAuth"},
    "gcsFaultToleranceOptions": {
        *("redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace"),
    },
    "autoscalerOptions": {
        *("env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources"),
        *("securityContext", "upscalingMode", "version", "volumeMounts"),
    },
    "headGroupSpec": {
        *("enableIngress", "headService", "labels", "rayStartParams", "resources"),
        *("serviceType", "template"),
    },
    "group": {
        *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas"),
        *("numOfHosts", "rayStartParams", "replicas", "resources", "scaleStrategy", "suspend"),
        "template",
    },
    "job": {
        *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy"),
        *("entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources"),
        *("jobId", "managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML"),
        *("shutdownAfterJobFinishes", "submissionMode", "submitterConfig"),
        *("submitterPodTemplate", "suspend", "ttlSecondsAfterFinished"),
    },
}
MANIFESTS = ("raycluster", "rayjob")


def manifest(name: str) -> Tree:
    return read(f"deploy/kuberay/{name}.yaml")


def cluster_spec(name: str) -> Tree:
    spec = manifest(name)["spec"]
    found: Tree = spec.get("rayClusterSpec", spec)
    return found


def pods(name: str) -> Iterator[Tree]:
    """The pods' own specs: head first, then the groups, then what submits."""
    spec = cluster_spec(name)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield group["template"]["spec"]
    if submitter := manifest(name)["spec"].get("submitterPodTemplate"):
        yield submitter["spec"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_uses_the_fields_that_kuberay_defines(name: str) -> None:
    given, spec = manifest(name), cluster_spec(name)
    assert given["apiVersion"] == "ray.io/v1"
    assert given["kind"] == {"raycluster": "RayCluster", "rayjob": "RayJob"}[name]
    assert set(spec) <= FIELDS["cluster"]
    for section in ("authOptions", "gcsFaultToleranceOptions", "autoscalerOptions"):
        assert set(spec[section]) <= FIELDS[section], section
    assert {"rayStartParams", "template"} <= set(spec["headGroupSpec"]) <= FIELDS["headGroupSpec"]
    for group in spec["workerGroupSpecs"]:
        assert {"groupName", "rayStartParams", "template"} <= set(group) <= FIELDS["group"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    if name == "rayjob":
        assert set(given["spec"]) <= FIELDS["job"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_are_not_root_have_limits_and_say_whether_they_live(name: str) -> None:
    for pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000  # the user of the images
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        if container["name"] != "ray-job-submitter":
            assert {"readinessProbe", "livenessProbe"} <= set(container)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_cluster_is_closed_and_its_head_outlives_itself(name: str) -> None:
    spec = cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token", "secretName": "aptune"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "secretKeyRef" in spec["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]
    stores = list(yaml.safe_load_all((ROOT / "deploy/kuberay/stores.yaml").read_text()))
    (service,) = (item for item in stores if item["kind"] == "Service")
    assert service["spec"]["type"] == "ClusterIP"
    port = service["spec"]["ports"][0]["port"]
    address = f"{service['metadata']['name']}:{port}"
    assert spec["gcsFaultToleranceOptions"]["redisAddress"] == address
    claims = {
        item["metadata"]["name"] for item in stores if item["kind"] == "PersistentVolumeClaim"
    }
    for pod in [*pods(name)][:3]:
        wanted = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
            if "persistentVolumeClaim" in volume
        }
        assert wanted == claims


@pytest.mark.parametrize("name", MANIFESTS)
def test_drivers_stay_on_the_head_and_trainings_off_it(name: str) -> None:
    spec = cluster_spec(name)
    params = spec["headGroupSpec"]["rayStartParams"]
    assert json.loads(json.loads(params["resources"])) == {DRIVER_RESOURCE: 1000}
    assert params["num-cpus"] == "0"
    gpu, preemptible = spec["workerGroupSpecs"]
    assert "nodeSelector" not in gpu["template"]["spec"]
    assert preemptible["template"]["spec"]["nodeSelector"]
    for group in (gpu, preemptible):
        assert DRIVER_RESOURCE not in str(group["rayStartParams"])
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == container["resources"]["requests"]["nvidia.com/gpu"]


def test_the_job_brings_the_same_cluster_and_its_grid() -> None:
    def without_grid(tree: Any) -> Any:
        if isinstance(tree, list):
            return [without_grid(item) for item in tree if not is_grid(item)]
        if isinstance(tree, dict):
            return {key: without_grid(value) for key, value in tree.items()}
        return tree

    def is_grid(item: Any) -> bool:
        return isinstance(item, dict) and item.get("name") == "grid"

    assert without_grid(cluster_spec("rayjob")) == cluster_spec("raycluster")
    spec = manifest("rayjob")["spec"]
    mounts = next(pods("rayjob"))["containers"][0]["volumeMounts"]
    (folder,) = (mount["mountPath"] for mount in mounts if mount["name"] == "grid")
    assert f"--config {folder}/grid.yaml" in spec["entrypoint"]
    assert spec["backoffLimit"] > 0  # a lost head: another cluster, the same command


def test_all_deployments_run_the_same_ray_redis_images_and_environment() -> None:
    services = compose_services()
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    stores = (ROOT / "deploy/kuberay/stores.yaml").read_text()
    assert f"image: {services['redis']['image']}\n" in stores
    assert services["head"]["image"] == "aptune:cpu"
    for name in MANIFESTS:
        assert cluster_spec(name)["rayVersion"] == pins["ray"]
        head, *workers = [*pods(name)][:3]
        assert head["containers"][0]["image"] == services["head"]["image"]
        assert {pod["containers"][0]["image"] for pod in workers} == {"aptune:cuda"}
        (mount,) = services["head"]["volumes"]
        for pod in (head, *workers):
            container = pod["containers"][0]
            environment = {item["name"]: item.get("value") for item in container["env"]}
            for variable in NODE_ENVIRONMENT:
                assert environment[variable] == services["worker"]["environment"][variable]
            paths = {item["mountPath"] for item in container["volumeMounts"]}
            assert mount.partition(":")[2] in paths
    bases = {stage[0].split()[1] for name in DOCKERFILES for stage in stages(name)}
    (python,) = {base for base in bases if base.startswith("python:")}
    assert python.startswith("python:3.11")  # the lowest that the project declares and tests
