"""The compose files' promises: by themselves, against the program, and by the real tool."""

import datetime
import json
import runpy
import shutil
import stat
import subprocess

import pytest
import yaml

from service import cli
from service.auth.api_keys import KeyRing
from service.auth.caller import Scope
from service.auth.key_file import read_key_file
from tests.repository.deployed import (
    DEPLOY,
    OUR_USER,
    SETTINGS,
    VERSION,
    compose,
    compose_command,
    is_pinned,
    routes,
)

FILES = ("compose.yaml", "compose.scaled.yaml")
SERVICES = [(file, name) for file in FILES for name in compose(file)["services"]]
OURS = [
    (file, name)
    for file, name in SERVICES
    if compose(file)["services"][name]["image"].startswith("mt3-service:")
]
# They do one thing and end.
PASSING = {"objects-folder", "bucket"}
every_service = pytest.mark.parametrize(("file", "name"), SERVICES)
every_server = pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, name in OURS if name not in PASSING]
)


def service(file, name):
    return compose(file)["services"][name]


@pytest.fixture
def folder(tmp_path):
    """A copy of what the compose files name, with secrets of its own."""
    for name in (*FILES, "make_secrets.py"):
        shutil.copy(DEPLOY / name, tmp_path)
    for name in ("prometheus", "grafana"):
        shutil.copytree(DEPLOY / name, tmp_path / name)
    make_secrets(tmp_path / "secrets")
    return tmp_path


def make_secrets(target):
    return runpy.run_path(str(DEPLOY / "make_secrets.py"))["make_secrets"](target)


@every_service
def test_every_image_is_pinned(file, name):
    assert is_pinned(service(file, name)["image"])


@every_service
def test_nothing_runs_as_root_or_writes_to_its_image(file, name):
    found = service(file, name)
    assert int(found["user"].split(":")[0]) > 0
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in found
    assert "cap_add" not in found


@every_service
def test_what_stays_is_watched_and_started_again(file, name):
    found = service(file, name)
    assert ("healthcheck" in found) is (name not in PASSING)
    assert found["restart"] == ("no" if name in PASSING else "unless-stopped")
    assert found["logging"]["options"]["max-size"]  # a log that grows for ever fills the disk


@every_service
def test_only_this_machine_reaches_a_port(file, name):
    assert all(port.startswith("127.0.0.1:") for port in service(file, name).get("ports", []))


@every_service
def test_no_secret_is_written_down(file, name):
    environment = service(file, name).get("environment", {})
    secret = ("PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY", "DATABASE_URL", "API_KEYS")
    plain = {key for key in environment if any(word in key for word in secret)}
    assert all(key.endswith("_FILE") for key in plain)


@pytest.mark.parametrize(("file", "name"), OURS)
def test_our_image_is_this_version_and_is_built_from_here(file, name):
    found = service(file, name)
    accelerator = found["build"]["args"]["ACCELERATOR"]
    suffix = "" if accelerator == "cpu" else f"-{accelerator}"
    assert found["image"] == f"mt3-service:{VERSION}{suffix}"
    assert found["user"] == f"{OUR_USER}:{OUR_USER}"


@every_server
def test_every_setting_named_exists(file, name):
    named = {key for key in service(file, name)["environment"] if key.startswith("MT3_")}
    assert named
    assert named <= SETTINGS


@every_server
def test_the_command_is_one_that_the_program_takes(file, name):
    command = service(file, name).get("command", ["mt3", "serve"])
    assert command[0] == "mt3"
    cli.build_parser().parse_args(command[1:])


@every_server
def test_health_is_asked_at_a_route_that_exists_and_at_the_port_served(file, name):
    found = service(file, name)
    (port,) = [
        part for part in found.get("command", ["--port", "8000"]) if part in ("8000", "8001")
    ]
    program = found["healthcheck"]["test"][-1]
    compile(program, "healthcheck", "exec")
    path = program.split(f"http://127.0.0.1:{port}")[1].split("'")[0]
    assert path == "/ready"
    assert path in routes()


@every_server
def test_a_stop_leaves_time_to_finish_and_to_put_back(file, name):
    found = service(file, name)
    grace = int(found["environment"]["MT3_SHUTDOWN_GRACE_SECONDS"])
    assert int(found["stop_grace_period"].removesuffix("s")) >= grace + 10
    assert found["init"] is True


@every_server
def test_recordings_come_to_a_volume_and_never_to_memory(file, name):
    found = service(file, name)
    targets = [
        volume.split(":")[1] if isinstance(volume, str) else volume["target"]
        for volume in found["volumes"]
    ]
    assert found["environment"]["MT3_UPLOAD_DIR"] in targets
    assert all(entry.split(":")[0] == "/tmp" for entry in found["tmpfs"])


@pytest.mark.parametrize("file", FILES)
def test_the_key_folder_is_mounted_and_not_its_file(file):
    mounted = [
        volume
        for name in compose(file)["services"]
        for volume in service(file, name).get("volumes", [])
        if isinstance(volume, dict) and volume["target"] == "/etc/mt3/keys"
    ]
    assert mounted
    assert all(volume["read_only"] for volume in mounted)
    assert {volume["source"] for volume in mounted} == {"./secrets/keys"}


def test_one_box_has_one_process_on_the_database():
    # Both would be the same SQLite file's second process, and refused.
    services = compose("compose.yaml")["services"]
    assert [name for name in services if "profiles" not in services[name]] == ["mt3"]
    assert all("MT3_DATABASE_URL" not in services[name]["environment"] for name in services)
    assert {services[name]["environment"]["MT3_DATA_DIR"] for name in services} == {"/data"}


def test_scaled_out_the_api_does_no_work_and_workers_take_no_requests():
    services = compose("compose.scaled.yaml")["services"]
    assert "--no-worker" in services["api"]["command"]
    for name in ("worker", "worker-gpu"):
        assert services[name]["command"][1] == "worker"
        assert "ports" not in services[name]
    assert {name for name in services if "ports" in services[name]} == {"api", "grafana"}
    assert compose("compose.scaled.yaml")["networks"]["inside"] == {"internal": True}
    assert "outside" not in services["database"]["networks"] + services["objects"]["networks"]


def test_prometheus_asks_services_that_exist_at_their_ports():
    services = compose("compose.scaled.yaml")["services"]
    config = yaml.safe_load((DEPLOY / "prometheus" / "scaled.yaml").read_text())
    assert config["rule_files"] == ["alerts.yaml"]
    asked = {
        (name, str(source["port"]))
        for scrape in config["scrape_configs"]
        for source in scrape["dns_sd_configs"]
        for name in source["names"]
    }
    assert asked == {("api", "8000"), ("worker", "8001"), ("worker-gpu", "8001")}
    assert all(port in services[name]["command"] for name, port in asked)


def test_grafana_finds_its_source_and_our_dashboard():
    services = compose("compose.scaled.yaml")["services"]
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards" / "mt3.yaml").read_text())["providers"]
    mounted = [volume.split(":") for volume in services["grafana"]["volumes"]]
    (dashboard,) = [target for source, target, *_ in mounted if source.endswith(".json")]
    assert dashboard.startswith(provider["options"]["path"] + "/")
    for place, *_ in mounted:
        assert not place.startswith("./") or (DEPLOY / place).exists()


def test_the_secrets_are_made_once_and_fit_together(folder):
    secrets = folder / "secrets"
    made = {path.relative_to(secrets).as_posix() for path in secrets.rglob("*") if path.is_file()}
    named = {
        secret["file"].removeprefix("./secrets/")
        for secret in compose("compose.scaled.yaml")["secrets"].values()
    }
    files = {"jobs.env", "webhook.env"}
    assert made == named | files | {"keys/keys.toml"}
    lines = [line for file in files for line in (secrets / file).read_text().splitlines()]
    environment = dict(line.split("=", 1) for line in lines)
    assert {name for name in environment if name.startswith("MT3_")} <= SETTINGS
    assert (secrets / "postgres-password").read_text() in environment["MT3_DATABASE_URL"]
    (identity,) = json.loads((secrets / "s3.json").read_text())["identities"]
    assert identity["credentials"] == [
        {"accessKey": environment["AWS_ACCESS_KEY_ID"],
         "secretKey": environment["AWS_SECRET_ACCESS_KEY"]}
    ]  # fmt: skip
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = (secrets / "jobs.env").read_text()
    with pytest.raises(FileExistsError):
        make_secrets(secrets)
    assert (secrets / "jobs.env").read_text() == before


def test_the_keys_made_open_what_they_should(tmp_path):
    operator = make_secrets(tmp_path / "secrets")
    entries = read_key_file(tmp_path / "secrets" / "keys" / "keys.toml")
    ring = KeyRing(key for entry in entries for key in entry.to_keys())
    now = datetime.datetime.now(datetime.UTC)
    caller = ring.find_caller(operator, now)
    assert caller.name == "operator"
    assert caller.scopes == set(Scope)
    watcher = ring.find_caller((tmp_path / "secrets" / "metrics-key").read_text(), now)
    assert watcher.scopes == {Scope.METRICS}


@pytest.mark.skipif(compose_command() is None, reason="docker compose 2 is missing")
@pytest.mark.parametrize("file", FILES)
def test_docker_compose_finds_nothing_wrong(file, folder):
    done = subprocess.run(
        [*compose_command(), "-f", file, "--profile", "gpu", "config", "--format", "json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert set(json.loads(done.stdout)["services"]) == set(compose(file)["services"])
