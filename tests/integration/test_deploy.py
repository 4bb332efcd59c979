"""The files in `deploy/` for Kubernetes and Compose are valid by their schemas, and agree with the rest of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
COMPOSE = ROOT / "deploy/compose.yaml"

# What is used here of the two kinds that are no part of Kubernetes itself: of the ServiceMonitor of the Prometheus operator
# (monitoring.coreos.com/v1), and of Kustomize. Anything else is a slip, or to be looked up and added.
FOREIGN: dict[str, dict[str, Any]] = {
    "ServiceMonitor": {
        "apiVersion": "monitoring.coreos.com/v1",
        "keys": {"apiVersion", "kind", "metadata", "spec"},
        "spec": {"selector", "endpoints"},
        "endpoint": {"port", "path", "interval", "relabelings"},
    },
    "Kustomization": {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "keys": {"apiVersion", "kind", "resources", "configMapGenerator"},
    },
}


def documents() -> dict[str, dict[str, Any]]:
    """Every document, by its kind and name."""
    found = {}
    for file in sorted(KUBERNETES.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            name = document.get("metadata", {}).get("name", file.name)
            found[f"{document['kind']}/{name}"] = document
    return found


def validate(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_every_kind_that_is_needed_is_there() -> None:
    kinds = {key.split("/")[0] for key in documents()}
    assert kinds >= {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceMonitor"}


def test_kubernetes_takes_its_own_kinds() -> None:
    own = [KUBERNETES / f"{name}.yaml" for name in ("deployment", "service", "hpa", "pdb")]
    checked = validate(*own)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_kubernetes_does_not_know_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "deployment.yaml"
    wrong.write_text((KUBERNETES / "deployment.yaml").read_text().replace("readinessProbe", "redinessProbe"))
    assert validate(wrong).returncode != 0


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_kinds_of_others_use_what_is_known_of_them(kind: str) -> None:
    [document] = [document for key, document in documents().items() if key.startswith(f"{kind}/")]
    known = FOREIGN[kind]
    assert document["apiVersion"] == known["apiVersion"]
    assert set(document) <= known["keys"]
    if "spec" in known:
        assert set(document["spec"]) <= known["spec"]
        assert all(set(endpoint) <= known["endpoint"] for endpoint in document["spec"]["endpoints"])


def test_the_parts_fit_together() -> None:
    found = documents()
    deployment = found["Deployment/shop"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    [container] = deployment["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for service in ("Service/shop", "Service/shop-admin"):
        assert found[service]["spec"]["selector"].items() <= labels
        assert all(port["targetPort"] in ports for port in found[service]["spec"]["ports"])
    monitor = found["ServiceMonitor/shop"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= found["Service/shop-admin"]["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= found["Service/shop"]["metadata"]["labels"].items()
    assert found["PodDisruptionBudget/shop"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert all(probe in container for probe in ("startupProbe", "readinessProbe", "livenessProbe"))
    for name in found["Kustomization/kustomization.yaml"]["resources"]:
        assert (KUBERNETES / name).exists()


def test_the_pod_is_given_the_time_that_its_settings_may_take() -> None:
    settings = tomllib.loads((KUBERNETES / "server.toml").read_text(encoding="utf-8"))
    deployment = documents()["Deployment/shop"]["spec"]["template"]["spec"]
    needed = settings["shutdown"]["delay"] + 1 + settings["workers"]["graceful_timeout"] + 10
    assert deployment["terminationGracePeriodSeconds"] > needed
    [container] = deployment["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings["listeners"][0]["bind"].endswith(f":{ports['http']}")
    assert settings["admin"]["bind"].endswith(f":{ports['admin']}")


def test_the_settings_of_the_pod_are_the_sample() -> None:
    assert (KUBERNETES / "server.toml").read_text() == (ROOT / "config/kubernetes.toml").read_text()


def test_compose_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_mounts_and_builds_what_is_there() -> None:
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    assert (COMPOSE.parent / services["shop"]["build"] / "Dockerfile").exists()
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    files = [path for path in mounted if path.startswith("./")]
    assert len(files) >= 6
    for path in files:
        assert (COMPOSE.parent / path).is_file(), path


@pytest.mark.skipif(not NGINX, reason="nginx is not installed (.ci/run installs it)")
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    assert NGINX
    site = (COMPOSE.parent / "compose/nginx.conf").read_text(encoding="utf-8")
    here = site.replace("server shop:8000", "server 127.0.0.1:8000").replace("listen 80", f"listen unix:{tmp_path}/web")
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{here}\n}}\n")
    command = [NGINX, "-t", "-c", str(file), "-g", "daemon off;"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr


def test_operations_explain_every_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    text = (ROOT / "deploy/OPERATIONS.md").read_text(encoding="utf-8")
    assert alerts
    assert [alert for alert in alerts if f"`{alert}`" not in text] == []
