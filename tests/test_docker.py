"""Images and compose file, as far as they can be judged without a Docker engine.

scripts/check_docker.sh lints them, scripts/rehearse_image.sh walks the image's steps.
"""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE_TEXT = (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "docker/Dockerfile").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("dev", "airflow", "lib", "build")
LINTERS = ("hadolint", "check-jsonschema", "kubernetes-validate")
ONE_SHOT = {"airflow-init", "cli"}

each_service = pytest.mark.parametrize("name", SERVICES)
each_lock = pytest.mark.parametrize("lock", LOCKS)


def locked(lock):
    text = (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9._-]+==[^\s;]+)", text, re.MULTILINE | re.IGNORECASE))


def copied():
    """Sources in the checkout that the Dockerfile copies."""
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        words = line.split()
        if not any(word.startswith("--from=") for word in words):
            yield from (word for word in words[:-1] if not word.startswith("--"))


def instructions(stage):
    """Instructions of one stage, without those it inherits."""
    body = re.split(rf"^FROM \S+ AS {stage}$", DOCKERFILE, flags=re.MULTILINE)[1]
    return re.split(r"^FROM ", body, flags=re.MULTILINE)[0]


# --- compose -----------------------------------------------------------------------------------


@each_service
def test_image_has_a_pinned_tag(name):
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+", tag), f"{name}: {tag} moves"


@each_service
def test_service_restarts_or_is_a_one_shot(name):
    assert SERVICES[name]["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")


@each_service
def test_what_stays_up_has_a_health_check(name):
    check = SERVICES[name].get("healthcheck", {})
    assert bool(check.get("test")) == (name not in ONE_SHOT)


@each_service
def test_service_is_waited_for_by_a_condition_that_it_can_meet(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == wanted


@each_service
def test_service_gains_no_rights(name):
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]
    if SERVICES[name]["image"].startswith("pinnersage"):
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert not SERVICES[name].get("privileged")


def test_no_password_has_a_default():
    secret = re.compile(r"PASS|SECRET|KEY|TOKEN|CONN|ADMIN", re.IGNORECASE)
    for variable, default in re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", COMPOSE_TEXT):
        assert default.startswith(":?" if secret.search(variable) else (":-", ":?")), variable


@each_service
def test_no_secret_is_a_plain_variable(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|_KEY(_|$)|CONN", variable):
            assert variable.endswith(("_CMD", "_FILE")), variable
            assert "/run/secrets/" in value


@each_service
def test_secrets_that_a_service_reads_are_mounted(name):
    used = set(re.findall(r"/run/secrets/(\w+)", str(SERVICES[name])))
    if name == "airflow-init":
        script = (ROOT / "docker/airflow-init.sh").read_text(encoding="utf-8")
        used |= set(re.findall(r"/run/secrets/(\w+)", script))
    assert used <= set(SERVICES[name].get("secrets", []))
    assert set(SERVICES[name].get("secrets", [])) <= set(COMPOSE["secrets"])


def test_airflow_services_share_one_set_of_settings():
    airflow = [s for s in SERVICES.values() if s["image"].startswith("pinnersage-airflow:")]
    shared = [{k: v for k, v in s["environment"].items() if "AIRFLOW__" in k} for s in airflow]
    assert len(shared) == 5
    assert all(one == shared[0] for one in shared)


def test_only_the_ui_and_the_service_have_a_port_and_only_on_this_host():
    assert {n: s["ports"] for n, s in SERVICES.items() if "ports" in s} == {
        "api-server": ["${PINNERSAGE_LISTEN:-127.0.0.1:8080}:8080"],
        "serve": ["${PINNERSAGE_SERVE_LISTEN:-127.0.0.1:8100}:8100"],
    }


def test_example_names_every_variable_and_sets_the_required_ones():
    example = (ROOT / "docker/.env.example").read_text(encoding="utf-8")
    for variable, how in re.findall(r"(?<!\$)\$\{(\w+):([-?])", COMPOSE_TEXT):
        optional = "#?" if how == "-" else ""
        assert re.search(rf"^{optional}{variable}=\S", example, re.MULTILINE), variable
    assert not re.search(r"PASSWORD|TOKEN|KEY", example)


def test_settings_are_ones_that_the_library_knows(tmp_path, monkeypatch):
    from pinnersage.config import build

    for variable, value in COMPOSE["x-settings"].items():
        monkeypatch.setenv(variable, value)
    settings = build(tmp_path, {})
    assert (settings.keyvalue.store, settings.index.store) == ("redis", "qdrant")
    assert settings.online.source == "redis"


def test_redis_of_events_has_what_it_said_it_has():
    command = str(SERVICES["redis"]["command"])
    assert "appendonly yes" in command
    assert "appendfsync always" in command
    assert "maxmemory-policy volatile-lru" in command


def test_probe_of_the_consumer_looks_at_the_file_that_it_touches():
    *command, touched = SERVICES["consume"]["command"]
    assert command == ["pinnersage", "consume", "--alive"]
    assert f"os.stat('{touched}')" in str(SERVICES["consume"]["healthcheck"]["test"])


def test_pools_are_those_that_the_dags_name():
    made = re.findall(r"pools set (\w+)", (ROOT / "docker/airflow-init.sh").read_text("utf-8"))
    dags = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "dags").glob("*.py"))
    assert set(made) == set(re.findall(r'"(pinnersage_(?:compute|publish)\w*)"', dags))


def test_secrets_are_made_once_and_only_for_their_owner(tmp_path):
    script = [str(ROOT / "docker/make-secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(script, check=True, capture_output=True)
    first = {p.name: p.read_bytes() for p in (tmp_path / "secrets").iterdir()}
    subprocess.run(script, check=True, capture_output=True)
    again = {p.name: p.read_bytes() for p in (tmp_path / "secrets").iterdir()}
    assert first == again
    assert set(first) == set(COMPOSE["secrets"])
    assert len(set(first.values())) == len(first)
    assert all(re.fullmatch(rb"[\w=-]{44,64}", value) for value in first.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


def test_entrypoint_hands_secrets_to_the_command_alone(tmp_path):
    (tmp_path / "redis_password").write_text("first\n", encoding="utf-8")
    (tmp_path / "qdrant_api_key").write_text("second", encoding="utf-8")
    show = "import os; print(os.environ['REDIS_URL'], os.environ['QDRANT_API_KEY'])"
    shown = subprocess.run(
        [str(ROOT / "docker/entrypoint.sh"), sys.executable, "-c", show],
        env={"PINNERSAGE_SECRETS_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "redis://:first@redis:6379/0 second\n"


# --- Kubernetes --------------------------------------------------------------------------------

POD_TEXT = (ROOT / "docker/kubernetes/pod-template.yaml").read_text(encoding="utf-8")
BROKEN = {
    "a word for a number": ("runAsUser: 10001", "runAsUser: nobody"),
    "a key that is misspelt": ("restartPolicy:", "restartPolice:"),
    "a container without a name": ("- name: base\n      image", "- image"),
    "a volume without a name": ("- name: tmp\n      emptyDir", "- emptyDir"),
}


def objections(pod, tmp_path):
    """What the validator says against a pod."""
    path = tmp_path / "pod.yaml"
    path.write_text(pod, encoding="utf-8")
    tool = Path(sys.executable).with_name("kubernetes-validate")
    command = [tool, "--strict", "--quiet", path]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert bool(checked.returncode) == bool(checked.stdout)
    return checked.stdout + checked.stderr


def test_pod_fits_kubernetes(tmp_path):
    assert objections(POD_TEXT, tmp_path) == ""


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_pod_is_seen(fault, tmp_path):
    right, wrong = BROKEN[fault]
    assert POD_TEXT.count(right) == 1
    assert "did not validate" in objections(POD_TEXT.replace(right, wrong), tmp_path)


def test_pod_has_no_rights_and_no_password():
    pod = yaml.safe_load(POD_TEXT)["spec"]
    task = pod["containers"][0]
    assert task["name"] == "base", "the name by which Airflow finds the container"
    assert task["image"] == SERVICES["worker"]["image"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001, "as in the image"
    assert task["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    for variable in task["env"]:
        if re.search(r"PASSWORD|SECRET|KEY$|CONN|REDIS_URL", variable["name"]):
            assert set(variable["valueFrom"]) == {"secretKeyRef"}
    assert {m["name"] for m in task["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


# --- Dockerfile --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", sorted(set(copied())))
def test_what_is_copied_exists_and_is_sent_to_the_engine(source):
    assert (ROOT / source).exists()
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in rules
    assert any(fnmatch.fnmatch(source, rule[1:]) for rule in rules if rule.startswith("!"))


def test_folders_that_airflow_reads_are_in_its_image():
    named = re.findall(r"\$\{PINNERSAGE_ROOT\}/(\w+)", (ROOT / "airflow.cfg").read_text("utf-8"))
    assert "dags" in named
    assert {folder for folder in named if (ROOT / folder).is_dir()} <= set(copied())


def test_base_image_is_pinned_and_the_only_one():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    names = {name for _, name in stages}
    assert {image for image, _ in stages if image not in names} == {"python:3.12-slim-bookworm"}
    assert {"library", "airflow"} <= names


def test_nothing_is_installed_without_a_hash():
    for command in re.findall(r"(?:pip install|apt-get install).*", DOCKERFILE):
        assert "--require-hashes" in command or "--no-deps" in command
        assert "apt-get" not in command


@pytest.mark.parametrize("target", ["library", "airflow"])
def test_image_does_not_run_as_root_and_is_labelled(target):
    assert re.search(rf"^FROM runtime AS {target}$", DOCKERFILE, re.MULTILINE)
    assert "USER 10001:10001" in instructions("runtime")
    assert "USER" not in re.findall(r"^\w+", instructions(target), re.MULTILINE)
    assert f'version="{PROJECT["project"]["version"]}"' in instructions(target)
    assert 'licenses="Apache-2.0"' in instructions(target)
    assert re.search(r"^HEALTHCHECK", instructions(target), re.MULTILINE)


def test_no_secret_is_built_in():
    assert not re.search(r"^(ARG|ENV).*(PASSWORD|SECRET|TOKEN|_KEY)", DOCKERFILE, re.MULTILINE)


def test_images_carry_the_version_of_the_project():
    tags = {s["image"] for s in SERVICES.values() if s["image"].startswith("pinnersage")}
    version = PROJECT["project"]["version"]
    assert tags == {f"pinnersage:{version}", f"pinnersage-airflow:{version}"}


def test_wheel_holds_the_package_and_its_sql_and_nothing_else():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["pinnersage"], "force-include": {"sql": "pinnersage/sql"}}
    assert not list((ROOT / "pinnersage").rglob("test*"))


# --- locks -------------------------------------------------------------------------------------


@each_lock
def test_lock_has_a_hash_a_package_and_names_no_host(lock):
    text = (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("lock", ["airflow", "lib"])
def test_images_run_the_versions_that_were_tested(lock):
    assert locked(lock) <= locked("dev")


def test_library_image_has_no_airflow():
    assert not [name for name in locked("lib") if "airflow" in name]


def test_one_version_of_uv():
    bootstrap = (ROOT / "scripts/bootstrap.sh").read_text(encoding="utf-8")
    version = re.search(r"^UV_VERSION=(\S+)$", bootstrap, re.MULTILINE)[1]
    assert f"uv=={version}" in locked("build")


# --- linters -----------------------------------------------------------------------------------


def test_linters_pass():
    tools = Path(sys.executable).parent
    if not all((tools / tool).exists() for tool in LINTERS):
        pytest.skip(f"one of {LINTERS} is not installed")
    checked = subprocess.run(
        [shutil.which("sh"), str(ROOT / "scripts/check_docker.sh")],
        env={"BIN": str(tools), "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
