"""What lies in docker/ agrees with the service: metrics, ports, variables, pins; and Prometheus accepts its rules."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from prometheus_client.parser import text_string_to_metric_families

from streamwatch import __version__, configfile
from streamwatch.config import Config
from streamwatch.errors import BrokerUnreachable
from streamwatch.metrics import Metrics
from streamwatch.records import Source
from streamwatch.transports.base import Opened, Progress
from tests.samples import alert, gauge, letter, waiting, work
from tests.test_metrics import Watched, turned

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
RULES = DOCKER / "prometheus" / "rules.yaml"
RULES_TEST = RULES.with_name("rules_test.yaml")
KUBERNETES = [DOCKER / "kubernetes" / name for name in ("central", "sidecar")]
SECRET = {"KAFKA_USERNAME": "username", "KAFKA_PASSWORD": "password"}
# Labels that Prometheus gives to every target.
TARGET = {"job", "instance", "namespace", "pod"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def scraped() -> str:
    """The metrics of a service to which everything has happened."""
    metrics = Metrics()
    lagging = Progress(lag={Source("p", 0): 5}, fetched_at=0.0)
    shown = gauge(statistic=1.0, reference=0.1)
    turned(metrics, lagging, Watched(shown, stream_time_s=1.0, waiting=[waiting()]))
    metrics.committed(work(alerts=[alert()], dead_letters=[letter()], unusable={"m": 1}), 0.1)
    metrics.opened(Opened(0, {}, b"", {}, {Source("p", 0): 1}))
    metrics.failed(BrokerUnreachable("away"), None, 0.2)
    return metrics.text().decode()


def test_rules_ask_only_for_metrics_and_labels_that_there_are(scraped: str) -> None:
    labels: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    texts = [(rule["alert"], rule["expr"]) for rule in rules()]
    series = yaml.safe_load(RULES_TEST.read_text())["tests"]
    texts += [("rules_test", one["series"]) for test in series for one in test["input_series"]]
    for where, text in texts:
        for name, chosen in re.findall(r"\b(up|streamwatch_\w+)(?:\{([^}]*)\})?", text):
            assert name in labels, f"{where}: no metric {name}"
            for label in re.findall(r'(\w+)=~?"', chosen):
                assert label in labels[name] | TARGET, f"{where}: {name} has no label {label}"


def test_every_rule_says_how_bad_it_is_what_happened_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical", "{{ $labels.severity }}")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert len(rule["annotations"]["description"]) > 80


def test_every_rule_is_seen_to_fire_and_none_does_on_a_service_that_is_well() -> None:
    """By the tests of the rules; that they come out so is promtool's to say."""
    well, *stories = yaml.safe_load(RULES_TEST.read_text())["tests"]
    assert [one["exp_samples"] for one in well["promql_expr_test"]] == [[]]
    shown = {series for one in well["input_series"] for series in re.findall(r"^\w+", one["series"])}
    assert {
        name for rule in rules() for name in re.findall(r"\b(?:up\b|streamwatch_\w+)", rule["expr"])
    } <= shown
    samples = [
        s["labels"] for story in stories for ask in story["promql_expr_test"] for s in ask["exp_samples"]
    ]
    seen = {name for labels in samples for name in re.findall(r'alertname="(\w+)"', labels)}
    assert seen == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "rules.yaml"],
        ["test", "rules", "rules_test.yaml"],
        ["check", "config", "prometheus.yaml"],
        ["check", "metrics"],
    ],
    ids=" ".join,
)
def test_prometheus_says_so_too(command: list[str], scraped: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        # The tests above hold without it; whether the expressions do what they should, only promtool can say.
        missing = (
            f"promtool is not installed (Debian: apt install prometheus), so not run: {' '.join(command)}"
        )
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    done = subprocess.run(
        [promtool, *command],
        cwd=RULES.parent,
        input=scraped,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_image_pins_is_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", (DOCKER / "requirements.txt").read_text(), re.MULTILINE))
    for wanted in map(Requirement, project["dependencies"]):
        assert pinned[wanted.name] in wanted.specifier, f"docker/requirements.txt: {wanted}"
    assert f"ARG VERSION={__version__}" in (DOCKER / "Dockerfile").read_text()


@pytest.fixture(params=KUBERNETES, ids=lambda path: path.name)
def place(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def deployment(place: Path) -> dict[str, Any]:
    (found,) = [one for one in documents(place) if one["kind"] == "Deployment"]
    assert isinstance(found, dict)
    return found


def documents(place: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((place / "deployment.yaml").read_text())


def container(place: Path) -> dict[str, Any]:
    pod = deployment(place)["spec"]["template"]["spec"]
    (found,) = [
        one for one in pod.get("initContainers", []) + pod["containers"] if one["name"] == "streamwatch"
    ]
    assert isinstance(found, dict)
    return found


def loaded(place: Path) -> Config:
    """With the variables that the container has, and no others."""
    given = {one["name"]: one.get("value", "from-the-secret") for one in container(place)["env"]}
    found = configfile.read([place / "config.yaml"], given)
    assert found.warnings == []
    return found.config


def test_the_config_is_good_and_listens_where_the_probes_ask(place: Path) -> None:
    http = loaded(place).http
    assert http is not None
    assert http.host == "0.0.0.0"
    assert container(place)["ports"] == [{"name": "streamwatch", "containerPort": http.port}]
    probes = {name: one["httpGet"] for name, one in container(place).items() if name.endswith("Probe")}
    assert probes.pop("livenessProbe") == {"path": "/livez", "port": "streamwatch"}
    assert probes in ({}, {"readinessProbe": {"path": "/readyz", "port": "streamwatch"}})


def test_a_sidecar_takes_no_model_out_of_service_and_keeps_none_from_starting() -> None:
    sidecar = container(DOCKER / "kubernetes" / "sidecar")
    assert sidecar["restartPolicy"] == "Always"
    assert not {"readinessProbe", "startupProbe"} & set(sidecar)


def test_it_has_no_rights_a_limit_of_memory_and_time_to_end(place: Path) -> None:
    pod = deployment(place)["spec"]["template"]["spec"]
    own = container(place)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"]["readOnlyRootFilesystem"]
    assert own["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert own["securityContext"]["allowPrivilegeEscalation"] is False
    assert own["resources"]["limits"] == {"memory": "256Mi"}
    assert pod["terminationGracePeriodSeconds"] > 10


def test_names_within_the_manifests_meet(place: Path) -> None:
    """The ConfigMap that kustomize makes, the secret's keys, volumes, the label that the PodMonitor looks for."""
    template = deployment(place)["spec"]["template"]
    made = yaml.safe_load((place / "kustomization.yaml").read_text())["configMapGenerator"]
    volumes = {one["name"]: one for one in template["spec"]["volumes"]}
    assert [one["configMap"]["name"] for one in volumes.values() if "configMap" in one] == [made[0]["name"]]
    mounts = {one["mountPath"]: volumes[one["name"]] for one in container(place)["volumeMounts"]}
    assert "configMap" in mounts["/etc/streamwatch"]
    assert container(place)["args"] == ["run", f"/etc/streamwatch/{made[0]['files'][0]}"]
    ca = Path(str(loaded(place).kafka.ssl_ca))
    assert {one["path"] for one in mounts[str(ca.parent)]["secret"]["items"]} == {ca.name}
    taken = {one["name"]: one["valueFrom"] for one in container(place)["env"] if "valueFrom" in one}
    assert taken == {
        name: {"secretKeyRef": {"name": "streamwatch-kafka", "key": key}} for name, key in SECRET.items()
    }
    podmonitor = yaml.safe_load((DOCKER / "kubernetes" / "podmonitor.yaml").read_text())["spec"]
    assert podmonitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert podmonitor["podMetricsEndpoints"][0]["port"] == container(place)["ports"][0]["name"]
    for budget in (one for one in documents(place) if one["kind"] == "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_compose_mounts_what_there_is_and_prometheus_asks_where_the_service_listens() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    mounted = {
        inside: DOCKER / outside
        for one in services.values()
        for outside, inside in (volume.split(":")[:2] for volume in one.get("volumes", []))
    }
    assert all(path.is_file() for path in mounted.values())
    own = services["streamwatch"]
    read = configfile.read([mounted[path] for path in own["command"][1:]], own["environment"])
    assert read.config.http is not None
    assert read.config.http.host == "0.0.0.0"
    prometheus = yaml.safe_load(mounted["/etc/prometheus/prometheus.yml"].read_text())
    (job,) = prometheus["scrape_configs"]
    assert job["job_name"] == "streamwatch"
    assert job["static_configs"] == [{"targets": [f"streamwatch:{read.config.http.port}"]}]
    told = services["producer"]["command"]
    assert read.config.service == told[told.index("--service") + 1]
    assert read.config.kafka.bootstrap_servers == told[told.index("--bootstrap-servers") + 1]
