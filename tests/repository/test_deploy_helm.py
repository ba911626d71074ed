"""The Helm chart's promises: its values by themselves, and what Helm makes of them.

Rendered by Helm where it is found (its SDK from the wheel `helm-python-sdk`, or `helm` itself), and
held to Kubernetes' own schemas where those are (`kubernetes-validate`).
"""

import copy
import json
import re
import subprocess

import jsonschema
import pytest
import yaml

from service import cli
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.repository.deployed import (
    CHART,
    DEPLOY,
    OUR_USER,
    SETTINGS,
    VERSION,
    has_helm,
    is_pinned,
    render,
    routes,
    sdk,
)

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Set by the chart from values of its own, or secret, or fixed by the image.
NOT_FREE = {
    "allow_anonymous", "api_keys", "api_keys_file", "data_dir", "database_url", "host", "jobs",
    "offline", "port", "shutdown_grace_seconds", "storage_url", "upload_dir", "webhook_secret",
    "worker",
}  # fmt: skip
LEAST = {
    "keys": {"existingSecret": "mt3-keys"},
    "database": {"existingSecret": "mt3-database"},
    "storage": {"url": "s3://bucket/mt3", "existingSecret": "mt3-storage"},
}
VARIANTS = {
    "least": {},
    "gpu": {"worker": {"accelerator": "gpu", "image": {"tag": "0.1.0-cuda"}}},
    "tpu": {"worker": {"accelerator": "tpu", "image": {"tag": "0.1.0-tpu"}}},
    "anonymous": {"keys": {"allowAnonymous": True}, "ingress": {"enabled": True}},
    "all": {
        "image": {"digest": "sha256:" + "a" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "webhooks": {"existingSecret": "mt3-webhooks"},
        "settings": {"max_sync_audio_seconds": 600, "max_upload_bytes": 2**31, "tracing": True},
        "worker": {
            "autoscaling": {"enabled": True, "minReplicas": 0, "maxReplicas": 40},
            "settings": {"slots": 64}, "nodeSelector": {"pool": "work"},
        },
        "checkpoint": {"offline": True, "existingClaim": "checkpoints"},
        "cache": {"existingClaim": "programs"},
        "ingress": {"enabled": True, "tlsSecretName": "tls", "className": "nginx",
                    "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "1100m"}},
        "networkPolicy": {
            "from": [{"podSelector": {"matchLabels": {"app": "gate"}}}],
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": 9000}]}],
        },
        "monitoring": {
            "serviceMonitor": {"enabled": True, "existingSecret": "mt3-metrics"},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        },
    },
}  # fmt: skip
DEFINED_ELSEWHERE = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}

needs_helm = pytest.mark.skipif(not has_helm(), reason="Helm is missing")
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def values_of(variant):
    return {**copy.deepcopy(LEAST), **copy.deepcopy(VARIANTS[variant])}


def documents(variant):
    return render(values_of(variant))


def of_kind(found, kind):
    return [document for document in found if document["kind"] == kind]


def deployment(found, component):
    (one,) = [
        document
        for document in of_kind(found, "Deployment")
        if document["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    return one


def pod(found, component):
    return deployment(found, component)["spec"]["template"]["spec"]


def container(found, component):
    (one,) = pod(found, component)["containers"]
    return one


def environment(found, component):
    return {entry["name"]: entry.get("value") for entry in container(found, component)["env"]}


def test_the_chart_is_of_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == VERSION


def test_the_values_obey_their_schema():
    jsonschema.validate(VALUES, SCHEMA)
    for variant in VARIANTS:
        jsonschema.validate(values_of(variant), SCHEMA)


@pytest.mark.parametrize(
    "wrong",
    [{"worker": {"acelerator": "gpu"}}, {"worker": {"accelerator": "cuda"}},
     {"image": {"tag": "latest"}}, {"settings": {"max_uplaod_bytes": 1}},
     {"settings": {"api_keys": "alice:secret"}}, {"storage": {"url": "s3://key:secret@bucket"}}],
    ids=str,
)  # fmt: skip
def test_what_is_misspelt_or_secret_is_refused(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**LEAST, **wrong}, SCHEMA)


def test_every_setting_can_be_given_but_those_that_the_chart_sets():
    # A new setting: add it to propertyNames of values.schema.json, or to NOT_FREE.
    free = set(SCHEMA["definitions"]["settings"]["propertyNames"]["enum"])
    assert free == set(Settings.model_fields) - NOT_FREE


def test_every_value_is_explained_by_the_schema_and_no_other():
    def names(schema, values, place=""):
        if not isinstance(values, dict) or "properties" not in schema:
            return
        known = set(schema["properties"]) - {"global", "maxUnavailable", "minAvailable"}
        assert known == set(values) - {"maxUnavailable", "minAvailable"}, place
        for name, value in values.items():
            names(schema["properties"][name], value, f"{place}.{name}")

    names(SCHEMA, VALUES)


def test_the_alerts_are_those_of_prometheus():
    ours = (DEPLOY / "prometheus" / "alerts.yaml").read_text()
    assert (CHART / "files" / "alerts.yaml").read_text() == ours


@needs_helm
@every_variant
def test_the_chart_makes_no_secret(variant):
    assert not of_kind(documents(variant), "Secret")


@needs_helm
@pytest.mark.skipif(sdk() is None, reason="helm-python-sdk is missing")
@every_variant
def test_helm_lint_finds_nothing_wrong(variant):
    found = sdk().lint(str(CHART), values_of(variant), strict=True)
    assert not found["errors"]
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


@needs_helm
@every_variant
def test_kubernetes_takes_what_is_made(variant):
    validate = pytest.importorskip("kubernetes_validate").validate
    checked = 0
    for document in documents(variant):
        if document["kind"] not in DEFINED_ELSEWHERE:
            for version in ("1.25", "1.30", "1.35"):
                validate(document, version, strict=True)
            checked += 1
    assert checked >= 8


@needs_helm
@pytest.mark.parametrize(
    ("values", "words"),
    [({}, "database.existingSecret"), ({**LEAST, "storage": {}}, "storage.url"),
     ({**LEAST, "keys": {}}, "keys.existingSecret"),
     ({**LEAST, "worker": {"acelerator": "gpu"}}, "acelerator")],
    ids=["nothing", "no storage", "no keys", "misspelt"],
)  # fmt: skip
def test_helm_refuses_what_would_not_start(values, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        render(values)


@needs_helm
@every_variant
def test_pods_are_not_root_and_write_only_to_volumes(variant):
    found = documents(variant)
    for component in ("api", "worker"):
        security = pod(found, component)["securityContext"]
        assert security["runAsUser"] == OUR_USER
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod(found, component)["automountServiceAccountToken"] is False
        assert container(found, component)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {
            mount["mountPath"]: mount["name"]
            for mount in container(found, component)["volumeMounts"]
        }
        assert {"/tmp", "/cache", "/data"} <= set(mounts)
        assert set(mounts.values()) == {
            volume["name"] for volume in pod(found, component)["volumes"]
        }


@needs_helm
@every_variant
def test_the_program_takes_command_and_settings(variant):
    found = documents(variant)
    for component in ("api", "worker"):
        arguments = container(found, component)["args"]
        assert arguments[0] == "mt3"
        cli.build_parser().parse_args(arguments[1:])
        ours = {name for name in environment(found, component) if name.startswith("MT3_")}
        assert ours <= SETTINGS
        assert is_pinned(container(found, component)["image"])
    plain = {
        name.lower().removeprefix("mt3_"): value
        for name, value in environment(found, "worker").items()
        if value is not None and name.startswith("MT3_")
    }
    Settings.model_validate(plain)
    # Secrets come by reference.
    assert environment(found, "api")["MT3_DATABASE_URL"] is None


@needs_helm
@every_variant
def test_probes_ask_routes_that_exist_at_the_port_served(variant):
    found = documents(variant)
    for component in ("api", "worker"):
        one = container(found, component)
        (port,) = one["ports"]
        assert str(port["containerPort"]) == one["args"][one["args"].index("--port") + 1]
        asked = {
            kind: one[f"{kind}Probe"]["httpGet"]["path"]
            for kind in ("startup", "liveness", "readiness")
        }
        # Alive is not ready: a pod that loads or drains is not to be killed for it.
        assert asked == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
        assert set(asked.values()) <= routes()
        assert all(
            one[f"{kind}Probe"]["httpGet"]["port"] == port["name"]
            for kind in ("startup", "liveness", "readiness")
        )


@needs_helm
@every_variant
def test_a_pod_is_given_the_time_to_drain(variant):
    found = documents(variant)
    for component in ("api", "worker"):
        grace = int(environment(found, component)["MT3_SHUTDOWN_GRACE_SECONDS"])
        hook = container(found, component).get("lifecycle", {}).get("preStop")
        before = int(hook["exec"]["command"][1]) if hook else 0
        assert pod(found, component)["terminationGracePeriodSeconds"] >= before + grace + 10
    assert container(found, "api")["lifecycle"]["preStop"]


@needs_helm
@every_variant
def test_everything_that_selects_finds_its_pods(variant):
    found = documents(variant)
    labels = {
        component: deployment(found, component)["spec"]["template"]["metadata"]["labels"]
        for component in ("api", "worker")
    }

    def selected(selector):
        return {name for name, of in labels.items() if selector.items() <= of.items()}

    for component in labels:
        own = deployment(found, component)["spec"]["selector"]["matchLabels"]
        assert selected(own) == {component}
        assert "app.kubernetes.io/version" not in own  # it changes, a selector cannot
    assert [selected(one["spec"]["selector"]) for one in of_kind(found, "Service")] == [
        {"api"}, {"worker"}
    ]  # fmt: skip
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        chosen = [
            (one["spec"].get("selector") or one["spec"]["podSelector"])["matchLabels"]
            for one in of_kind(found, kind)
        ]
        assert sorted(name for one in chosen for name in selected(one)) == ["api", "worker"]


@needs_helm
def test_a_gpu_is_asked_for_and_its_node_chosen():
    found = documents("gpu")
    limits = container(found, "worker")["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert limits["memory"]  # what the values said besides
    assert pod(found, "worker")["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert container(found, "worker")["image"] == "mt3-service:0.1.0-cuda"
    assert "JAX_PLATFORMS" not in environment(found, "worker")
    # The API has none, and the old worker gives its device back first.
    assert "nvidia.com/gpu" not in container(found, "api")["resources"]["limits"]
    rolling = deployment(found, "worker")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


@needs_helm
def test_a_tpu_is_asked_for_and_its_node_chosen():
    found = documents("tpu")
    assert container(found, "worker")["resources"]["limits"]["google.com/tpu"] == 1
    assert set(pod(found, "worker")["nodeSelector"]) == {
        "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"
    }  # fmt: skip
    assert not any("nvidia" in str(of) for of in pod(found, "worker")["tolerations"])


@needs_helm
def test_workers_are_scaled_by_the_age_of_the_queue():
    found = documents("all")
    (scaled,) = of_kind(found, "ScaledObject")
    worker = deployment(found, "worker")
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert "replicas" not in worker["spec"]  # or every upgrade would set them back
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metricType"] == "Value"
    (metric,) = re.findall(r"mt3_\w+", trigger["metadata"]["query"])
    assert metric == "mt3_job_queue_age_seconds"
    assert f"# TYPE {metric} ".encode() in Metrics().write()[0]
    assert 'namespace="music"' in trigger["metadata"]["query"]
    assert not of_kind(documents("least"), "ScaledObject")
    assert deployment(documents("least"), "worker")["spec"]["replicas"] == 1


@needs_helm
def test_numbers_stay_whole_and_a_digest_goes_before_the_tag():
    found = documents("all")
    assert environment(found, "api")["MT3_MAX_UPLOAD_BYTES"] == "2147483648"
    assert environment(found, "worker")["MT3_SLOTS"] == "64"
    assert environment(found, "worker")["MT3_TRACING"] == "true"
    assert container(found, "api")["image"] == "mt3-service@sha256:" + "a" * 64


@needs_helm
def test_the_outside_sees_no_metrics_and_the_network_no_private_addresses():
    found = documents("all")
    (ingress,) = of_kind(found, "Ingress")
    (rule,) = ingress["spec"]["rules"]
    paths = {path["path"] for path in rule["http"]["paths"]}
    assert "/metrics" not in paths
    assert all(any(route.startswith(path) for route in routes()) for path in paths)
    for policy in of_kind(found, "NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        (public,) = [
            block["ipBlock"]
            for rule in policy["spec"]["egress"]
            for block in rule.get("to", [])
            if "ipBlock" in block
        ]
        assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(public["except"])
        assert {"ports": [{"protocol": "TCP", "port": 9000}]} in policy["spec"]["egress"]


@needs_helm
def test_the_outside_reaches_the_web_page():
    (ingress,) = of_kind(documents("all"), "Ingress")
    (rule,) = ingress["spec"]["rules"]
    kinds = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
    assert kinds["/"] == "Exact"  # as a prefix it would include /metrics
    assert {kinds[path] for path in ("/assets", "/v1", "/docs")} == {"Prefix"}


@needs_helm
def test_a_server_without_keys_answers_to_its_names():
    values = {
        **values_of("least"),
        "keys": {"allowAnonymous": True},
        "ingress": {"enabled": True, "host": "music.example.org"},
    }
    service = ["demo-mt3.music", "demo-mt3.music.svc", "demo-mt3.music.svc.cluster.local"]
    found = environment(render(values), "api")["MT3_ALLOWED_HOSTS"]
    assert found.split(",") == ["music.example.org", *service]
    values["settings"] = {"allowed_hosts": "other.example.org"}
    found = environment(render(values), "api")["MT3_ALLOWED_HOSTS"]
    assert found.split(",") == ["other.example.org", "music.example.org", *service]
    assert "MT3_ALLOWED_HOSTS" not in environment(documents("all"), "api")


@needs_helm
def test_the_rules_and_what_is_scraped_reach_the_operator():
    found = documents("all")
    (rules,) = of_kind(found, "PrometheusRule")
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    assert rules["spec"] == groups
    monitors = of_kind(found, "ServiceMonitor")
    services = {
        service["metadata"]["labels"]["app.kubernetes.io/component"]: service
        for service in of_kind(found, "Service")
    }
    for monitor in monitors:
        chosen = monitor["spec"]["selector"]["matchLabels"]
        component = chosen["app.kubernetes.io/component"]
        service = services.pop(component)
        assert chosen.items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["path"] in routes()
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert endpoint["authorization"]["credentials"] == {"name": "mt3-metrics", "key": "key"}
    assert not services


@pytest.mark.skipif(
    sdk() is not None or not has_helm(), reason="Helm's program is asked where its SDK is missing"
)
def test_helms_program_finds_nothing_wrong(tmp_path):
    (tmp_path / "values.yaml").write_text(json.dumps(values_of("all")))
    done = subprocess.run(
        ["helm", "lint", "--strict", str(CHART), "--values", str(tmp_path / "values.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
