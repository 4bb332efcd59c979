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

from tests.support.certificates import Authority
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
COMPOSE = ROOT / "deploy/compose.yaml"

needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is not installed (.ci/run installs it)")

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
    for file in sorted(KUBERNETES.rglob("*.yaml")):
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
    own = [KUBERNETES / name for name in documents()["Kustomization/kustomization.yaml"]["resources"]]
    assert {file.name for file in own} == {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    checked = validate(*own)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_applied_at_once_needs_no_kinds_of_others() -> None:
    files = [KUBERNETES / name for name in documents()["Kustomization/kustomization.yaml"]["resources"]]
    found = [document for file in files for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    groups = {document["apiVersion"].rpartition("/")[0] for document in found}
    assert groups <= {"", "apps", "autoscaling", "policy"}  # what every cluster has, without a CustomResourceDefinition


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


def test_the_control_socket_is_where_the_container_can_write() -> None:
    pod = documents()["Deployment/shop"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    [place] = [variable["value"] for variable in container["env"] if variable["name"] == "RUNTIME_DIRECTORY"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == place]
    assert not mount.get("readOnly")
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    assert "emptyDir" in volume


@pytest.mark.long
def test_the_commands_work_as_kubectl_exec_starts_them(tmp_path: Path) -> None:
    """With the settings of the pod, a directory for the socket as an emptyDir is, and nothing but the image's environment."""
    volume = tmp_path / "run"
    volume.mkdir()
    volume.chmod(0o777)
    settings = (KUBERNETES / "server.toml").read_text(encoding="utf-8")
    settings = re.sub(r'"0\.0\.0\.0:\d+"', '"127.0.0.1:0"', settings)
    settings = re.sub(r"^delay = .*", "", settings, flags=re.MULTILINE)
    source = (ROOT / "deploy/example/main.py").read_text(encoding="utf-8")
    server = Server(tmp_path, files={"main.py": source}, environment={"RUNTIME_DIRECTORY": str(volume)})
    server.write("server.toml", settings)
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "APPSERVER_CONFIG=/etc/appserver/server.toml" in image
    environment = {
        "RUNTIME_DIRECTORY": str(volume),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "APPSERVER_CONFIG": str(tmp_path / "server.toml"),
    }
    text = (ROOT / "deploy/OPERATIONS.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    kubectl exec .* -- appserver (.*)", text, re.MULTILINE)
    assert {"top", "status"} <= set(commands)
    with server:
        for command in commands:
            once = ["--once"] if command == "top" else []
            done = subprocess.run(
                [sys.executable, "-m", "appserver", *command.split(), *once],
                cwd="/",
                env=environment,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout


def test_the_unit_shows_a_python_below_home_only_when_it_is_told() -> None:
    unit = (ROOT / "systemd/appserver@.service").read_text(encoding="utf-8")
    assert re.findall(r"^ProtectHome=(.*)", unit, re.MULTILINE) == ["yes"]
    text = (ROOT / "deploy/OPERATIONS.md").read_text(encoding="utf-8")
    [title] = re.findall(r'# then is in deploy/OPERATIONS\.md \("(.*)"\)', unit)
    section = text.split(f"**{title}.**")[1].split("\n\nRecords")[0]
    drop_in = dict(re.findall(r"^    (\w+)=(.*)", section, re.MULTILINE))
    assert drop_in["ProtectHome"] == "tmpfs"
    assert drop_in["BindReadOnlyPaths"].startswith("/home/")
    assert "203/EXEC" in section


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


def nginx_takes(file: Path) -> None:
    assert NGINX
    command = [NGINX, "-t", "-e", "stderr", "-c", str(file), "-g", "daemon off;"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr


@needs_nginx
def test_nginx_takes_the_whole_configuration_as_it_is(tmp_path: Path) -> None:
    """Other than in the tests of proxies all addresses behind it stay, and have to be ones that nginx can start with."""
    text = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
    authority = Authority()
    certificate, key = authority.issue("example.org").write(tmp_path)
    trusted = authority.write(tmp_path)
    for path in set(re.findall(r"/etc/ssl/[^;]*", text)):
        own = trusted if "authority" in path else key if path.endswith(".key") else certificate
        text = text.replace(path, str(own))
    # What else only root may do: the well-known ports, the logs, the id of the process.
    text = re.sub(r"listen \d+", f"listen unix:{tmp_path}/web", text, count=1)
    text = re.sub(r"listen \d+", f"listen unix:{tmp_path}/tls", text)
    text = text.replace("/var/log/nginx/", f"{tmp_path}/").replace("/run/nginx.pid", f"{tmp_path}/pid")
    file = tmp_path / "nginx.conf"
    file.write_text(text)
    nginx_takes(file)


@needs_nginx
def test_nginx_takes_the_configuration_of_compose(tmp_path: Path) -> None:
    site = (COMPOSE.parent / "compose/nginx.conf").read_text(encoding="utf-8")
    here = site.replace("server shop:8000", "server 127.0.0.1:8000").replace("listen 80", f"listen unix:{tmp_path}/web")
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{here}\n}}\n")
    nginx_takes(file)


def test_operations_explain_every_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    text = (ROOT / "deploy/OPERATIONS.md").read_text(encoding="utf-8")
    assert alerts
    assert [alert for alert in alerts if f"`{alert}`" not in text] == []


class Template(yaml.SafeLoader):
    """Reads the functions of CloudFormation (`!GetAtt`) as their arguments."""


Template.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))


def test_the_template_for_sam_names_what_is_there() -> None:
    """`sam build` makes the image, and leaves the zip file alone: that is made by package.sh, and by a Makefile if SAM is not told."""
    resources = yaml.load((ROOT / "deploy/lambda/template.yaml").read_text(encoding="utf-8"), Template)["Resources"]
    image, archive = resources["Streaming"], resources["Buffered"]
    context = ROOT / "deploy/lambda" / image["Metadata"]["DockerContext"]
    assert (context / image["Metadata"]["Dockerfile"]).samefile(ROOT / "deploy/lambda/Dockerfile")
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", (ROOT / "deploy/lambda/Dockerfile").read_text(), re.MULTILINE)
    assert all((context / name).is_file() for names in copied for name in names.split())
    assert archive["Metadata"] == {"SkipBuild": True}
    settings = tomllib.loads((ROOT / "deploy/lambda/server.toml").read_text())
    assert archive["Properties"]["Handler"] == settings["app"]["target"]
