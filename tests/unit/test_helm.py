"""What is rendered for Kubernetes: keys that the chart has, manifests that it takes, secrets by reference alone."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import ClassVar

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError
from support import chart

from theodore_otel.config import load, load_text
from theodore_otel.errors import InputError
from theodore_otel.render import render

ROOT = Path(__file__).parents[2]
KUBERNETES = ("1.25", "1.29", "1.33", "1.37")
FULL = """
collector:
  tls: {cert_file: /etc/theodore-otel/tls/tls.crt, key_file: /etc/theodore-otel/tls/tls.key}
tenants: {services: {api: {may_report: [acme, globex]}}}
redaction: {extra_values: {braces: '\\{\\{[a-z]+\\}\\}|{{x}}'}}
destinations:
  elastic: {type: elasticsearch, endpoints: ["https://es:9200"], api_key: {env: ES_API_KEY}}
  dd: {type: datadog, api_key: {file: /run/secrets/vendors/datadog}}
  scrape: {type: prometheus}
  vendor: {type: otlp, endpoint: "otlp.example.com:4317", tls: {ca_file: /etc/ssl/certs/ca-certificates.crt}}
instrument: {audit: {key: {file: /run/secrets/theodore-audit/key}}, analytics: {key: {env: ANALYTICS_KEY}}}
helm:
  clients: [theodore]
  monitoring: [monitoring]
  replicas: {min: 2, max: 4}
  storage: {size: 40GiB, storage_class: fast}
  secrets: {folders: {/etc/theodore-otel/tls: collector-tls}}
"""


@cache
def rendered(text: str) -> dict[str, str]:
    return {file.path: file.text for file in render(load_text(text, "t.yaml"), "t.yaml", ["helm"])}


@cache
def values_of(text: str) -> chart.Values:
    return chart.Values.model_validate(yaml.safe_load(rendered(text)["values.yaml"]))


@cache
def _manifests(text: str) -> list[dict]:
    own = [doc for path, each in rendered(text).items() if path != "values.yaml" for doc in yaml.safe_load_all(each)]
    return [*chart.manifests(values_of(text)), *own]


def manifests_of(text: str) -> list[dict]:
    """Return every manifest: what the chart makes, and those for Theodore's pods."""
    return deepcopy(_manifests(text))


def of_kind(text: str, kind: str) -> dict:
    (found,) = [each for each in manifests_of(text) if each["kind"] == kind]
    return found


def container(manifest: dict) -> dict:
    spec = manifest["spec"]
    spec = spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec
    return spec["template"]["spec"]["containers"][0]


def environment_of(manifest: dict) -> dict[str, object]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(manifest)["env"]}


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        rendered(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", FULL], ids=["defaults", "full"])
def test_values_have_only_keys_that_the_chart_has(text):
    assert values_of(text).mode == "statefulset"


def test_a_key_that_the_chart_has_not_is_found():
    values = yaml.safe_load(rendered("")["values.yaml"])
    for wrong in ({"replicas": 2}, {"image": {**values["image"], "tags": "1"}}, {"replicaCount": "2"}):
        with pytest.raises(ValidationError):
            chart.Values.model_validate({**values, **wrong})


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("text", ["", FULL, "tenants: {identify_by: none}"], ids=["defaults", "full", "no tenants"])
def test_kubernetes_takes_every_manifest(text, version):
    for manifest in manifests_of(text):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_kubernetes_would_refuse_a_misspelt_key():
    manifest = of_kind("", "StatefulSet")
    container(manifest)["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)


def test_what_is_committed_is_what_is_rendered():
    folder = ROOT / "deploy/helm"
    for file in render(load(folder / "theodore-otel.yaml"), "theodore-otel.yaml", ["helm"]):
        assert (folder / file.path).read_text() == file.text, f"{file.path} is stale: make render"


@pytest.mark.parametrize("text", ["", FULL], ids=["defaults", "full"])
def test_the_configuration_is_mounted_as_it_was_rendered(text):
    values = yaml.safe_load(rendered(text)["values.yaml"])
    escaped = json.dumps(values["alternateConfig"])
    assert "{{x" not in escaped
    assert yaml.safe_load(chart.mounted(values_of(text))) == json.loads(escaped.replace("{{`{{`}}", "{{"))


class AsTheCollectorReads(yaml.SafeLoader):
    """YAML in which `true` and `false` alone are booleans: to Helm, `on` and `no` are as well."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


AsTheCollectorReads.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def test_helm_reads_the_same_as_the_collector_would():
    text = rendered(FULL)["values.yaml"]
    assert yaml.load("a: no", AsTheCollectorReads) == {"a": "no"}
    assert yaml.load(text, AsTheCollectorReads) == yaml.safe_load(text)


def test_secrets_are_keys_of_existing_secrets_and_no_value_stands_anywhere(monkeypatch):
    monkeypatch.setenv("ES_API_KEY", "planted-by-the-test")
    assert "planted-by-the-test" not in "".join(rendered(FULL).values())
    assert not [each for each in manifests_of(FULL) if each["kind"] == "Secret"]
    for manifest in (of_kind(FULL, "StatefulSet"), of_kind(FULL, "Deployment"), of_kind(FULL, "CronJob")):
        for name, value in environment_of(manifest).items():
            if re.search("KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", name) and not name.endswith("_FILE"):
                assert value["secretKeyRef"]["key"] == name


def test_the_collector_is_given_what_its_configuration_refers_to():
    pod = of_kind(FULL, "StatefulSet")["spec"]["template"]["spec"]
    known = environment_of(of_kind(FULL, "StatefulSet"))
    assert known["ES_API_KEY"] == {"secretKeyRef": {"name": "theodore-otel-secrets", "key": "ES_API_KEY"}}
    sources = {volume["name"]: volume.get("secret") for volume in pod["volumes"]}
    files = {
        f"{mount['mountPath']}/{item['path']}": (sources[mount["name"]]["secretName"], item["key"])
        for mount in pod["containers"][0]["volumeMounts"]
        if sources.get(mount["name"])
        for item in sources[mount["name"]]["items"]
    }
    assert files == {
        "/etc/theodore-otel/credentials/credentials.htpasswd": ("theodore-otel-credentials", "credentials.htpasswd"),
        "/etc/theodore-otel/tls/tls.crt": ("collector-tls", "tls.crt"),
        "/etc/theodore-otel/tls/tls.key": ("collector-tls", "tls.key"),
        "/run/secrets/vendors/datadog": ("theodore-otel-secrets", "datadog"),
    }


def test_the_collector_is_nobody_and_writes_into_its_volume_alone():
    pod = of_kind(FULL, "StatefulSet")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["automountServiceAccountToken"] is False
    (only,) = pod["containers"]
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [each["name"] for each in only["volumeMounts"] if not each.get("readOnly")][1:] == ["state"]


def test_each_collector_has_a_volume_that_outlives_its_pod():
    (claim,) = of_kind(FULL, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"] == {"requests": {"storage": "40Gi"}}


def test_memory_is_what_the_configuration_says_and_the_limit_leaves_room_beside_the_heap():
    manifest = of_kind("collector: {memory: 2GiB}", "StatefulSet")
    assert container(manifest)["resources"] == {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"memory": "2560Mi"},
    }
    assert environment_of(manifest)["GOMEMLIMIT"] == f"{3 * 2**29}B"


def test_the_load_decides_on_the_number_of_collectors_where_there_may_be_more():
    assert of_kind(FULL, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 4
    assert "replicas" not in of_kind(FULL, "StatefulSet")["spec"]


def test_one_collector_decides_on_every_trace_unless_told_otherwise():
    assert not [each for each in manifests_of("") if each["kind"] == "HorizontalPodAutoscaler"]
    assert of_kind("", "StatefulSet")["spec"]["replicas"] == 1


def test_what_a_pod_sends_goes_to_one_collector():
    spec = of_kind(FULL, "Service")["spec"]
    assert spec["sessionAffinity"] == "ClientIP"
    labels = of_kind(FULL, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"] == labels
    names = {port["name"] for port in container(of_kind(FULL, "StatefulSet"))["ports"]}
    assert {port["targetPort"] for port in spec["ports"]} <= names


def test_metrics_of_all_tenants_are_open_to_monitoring_alone():
    telemetry, monitoring = of_kind(FULL, "NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for port in telemetry["ports"]} == {4317, 4318}
    assert {port["port"] for port in monitoring["ports"]} == {8888, 8889}
    assert {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "theodore"}}} in telemetry["from"]
    (without,) = of_kind("", "NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for port in without["ports"]} == {4317, 4318}


def test_every_port_listens_where_the_pod_is_reached():
    configuration = values_of(FULL).alternateConfig
    assert configuration["extensions"]["health_check"]["endpoint"] == "0.0.0.0:13133"
    assert configuration["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"
    assert configuration["exporters"]["prometheus/scrape"]["endpoint"] == "0.0.0.0:8889"
    own = values_of('collector: {listen: {http: "[::]:4318"}}').alternateConfig
    assert own["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "[::]:4318"


def test_what_each_collector_counts_is_told_apart():
    statements = values_of("").alternateConfig["processors"]["transform/derived"]["metric_statements"]
    wanted = 'set(resource.attributes["service.instance.id"], "${env:THEODORE_OTEL_INSTANCE}")'
    assert wanted in statements[0]["statements"]
    assert environment_of(of_kind("", "StatefulSet"))["THEODORE_OTEL_INSTANCE"] == {
        "fieldRef": {"fieldPath": "metadata.name"}
    }
    (alone,) = render(load_text("", "t.yaml"), "t.yaml", ["collector"])
    assert "THEODORE_OTEL_INSTANCE" not in alone.text


def test_the_operator_is_given_the_alert_rules_and_a_monitor_where_there_is_one():
    values = values_of("helm: {prometheus_operator: true}")
    rules, _ = render(load_text("", "t.yaml"), "t.yaml", ["prometheus"])
    assert values.prometheusRule.groups == yaml.safe_load(rules.text)["groups"]
    assert values.podMonitor.enabled
    jobs = {each["replacement"] for each in values.podMonitor.metricsEndpoints[0]["relabelings"]}
    assert jobs == {"otelcol"}
    assert not values_of("").podMonitor.enabled
    assert values_of("").prometheusRule is None


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_theodore_is_given_its_settings_and_a_credential_from_a_file(kind):
    manifest = of_kind(FULL, kind)
    known = environment_of(manifest)
    assert known["OTEL_PYTHON_DISTRO"] == known["OTEL_PYTHON_CONFIGURATOR"] == "theodore"
    assert known["ANALYTICS_KEY"] == {"secretKeyRef": {"name": "theodore-credential", "key": "ANALYTICS_KEY"}}
    mounts = {each["mountPath"] for each in container(manifest)["volumeMounts"]}
    for variable in ("THEODORE_OTEL_CONFIG", "THEODORE_OTEL_CREDENTIAL_FILE"):
        assert known[variable].rpartition("/")[0] in mounts
    assert known["THEODORE_OTEL_HOME"] in mounts
    assert "/run/secrets/theodore-audit" in mounts
    assert "THEODORE_OTEL_CREDENTIAL" not in known


def test_theodore_is_told_to_send_to_the_service():
    settings = json.loads(yaml.safe_load(rendered("")["theodore/configmap.yaml"])["data"]["instrument.json"])
    assert settings["endpoint"] == "http://theodore-otel.observability:4318"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("helm: {replicas: {min: 3}}", "helm.replicas: expected max of at least 3"),
        ("helm: {replica: {min: 3}}", "helm.replica"),
        ("helm: {name: Theodore}", "helm.name"),
        ("helm: {cpu: '0.5'}", "helm.cpu"),
    ],
)
def test_a_wrong_setting_is_told_by_its_key(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load_text(text, "t.yaml")


def test_a_volume_too_small_for_the_queues_is_refused():
    said = refused(FULL.replace("40GiB", "10GiB"))
    assert said.startswith("helm.storage.size: expected 25GiB or more for 10 queues of up to 2GiB each"), said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("destinations: {f: {type: file, directory: /data}}", "destinations.f.directory: expected a folder below"),
        ("collector: {queue: {directory: /data}}", "collector.queue.directory: expected a folder below"),
        ("tenants: {credentials_file: /var/lib/theodore-otel/x}", "expected a file outside"),
        ("tenants: {credentials_file: /x}", "expected an absolute path of a file in a folder"),
        ("tenants: {credentials_file: '/a/with space'}", "expected a name of letters, digits"),
        (
            "destinations: {a: {type: datadog, api_key: {file: /a/key}}, b: {type: splunk, endpoint: 'https://s', "
            "token: {file: /b/key}}}",
            "expected different names of files, because both would be the key key of Secret theodore-otel-secrets",
        ),
    ],
)
def test_a_file_that_a_pod_could_not_have_is_refused(text, message):
    assert message in refused(text)
