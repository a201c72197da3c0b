"""The files of a deployment start commands that exist, and say what they need."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from service.cli.app import COMMANDS
from tests.unit.test_settings import COMPLETE

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
REQUIRED: Final = re.compile(r"\$\{(\w+):\?([^}]+)\}")
"""A variable without which Compose stops at once, and what it then says."""


def lines(file: str) -> dict[str, str]:
    procfile = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in procfile)


@pytest.mark.parametrize("name", lines("Procfile"))
def test_every_line_of_the_procfile_starts_a_command_of_ours(name: str) -> None:
    program, command, *_ = lines("Procfile")[name].split()
    assert program == "mirt"
    assert command in {line.name for line in COMMANDS}


def test_a_deploy_migrates_the_database_before_it_starts_a_process() -> None:
    assert lines("Procfile")["release"] == "mirt migrate"


def test_a_platform_installs_the_locked_versions_and_the_service_itself() -> None:
    listed = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.removesuffix(" \\") for line in locked if not line.startswith(" ")]
    assert [line for line in listed if not line.startswith("#")] == [*pins, "."]


def test_a_platform_takes_the_python_of_the_image() -> None:
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert f"FROM python:{version}-" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_compose_says_which_variable_is_missing_before_it_starts_anything() -> None:
    environment: dict[str, str] = COMPOSE["x-mirt"]["environment"]
    required = {
        name: found for name, value in environment.items() if (found := REQUIRED.match(value))
    }
    assert {name: found[1] for name, found in required.items()} == {n: n for n in required}
    assert set(COMPLETE) == required.keys() | {"RABBITMQ_URL", "REDIS_URL", "DATABASE_URL"}
    first, *_ = required.values()
    for variable in (".env.example", *required):
        assert variable in first[2]


def test_wrong_settings_end_the_service_that_all_others_wait_for() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    migrate = services["migrate"]
    assert "--check-settings" in migrate["command"]
    assert re.fullmatch(r"on-failure:\d+", migrate["restart"])
    ours = {name: one for name, one in services.items() if one.get("image") == "mirt"}
    for name in ours.keys() - {"migrate"}:
        awaited = services[name]["depends_on"]["migrate"]
        assert awaited == {"condition": "service_completed_successfully"}


SERVICES: Final[dict[str, Any]] = COMPOSE["services"]


def test_no_password_of_compose_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"\$\{\w+(?::?-|\})[^}]*", text) == []
    for name in set(re.findall(r"\$\{(\w+):\?", text)):
        assert re.search(rf"^# {name}=", example, re.MULTILINE), name


def test_compose_names_an_exact_version_of_every_image() -> None:
    images = {one["image"] for one in SERVICES.values()} - {"mirt"}
    assert [image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", image)] == []


def test_every_container_is_confined() -> None:
    for one in SERVICES.values():
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["mem_limit"]
        assert one["pids_limit"]
    for one in (one for one in SERVICES.values() if one["image"] == "mirt"):
        assert (one["read_only"], one["cap_drop"], one["tmpfs"]) == (True, ["ALL"], ["/tmp"])


def test_the_image_installs_locked_hashes_and_runs_as_a_numbered_user() -> None:
    _, build, final = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    assert "pip install --no-cache-dir --require-hashes -r requirements.lock" in build
    assert "pip install --no-cache-dir --no-deps ." in build
    assert "pip install" not in final
    assert "--uid 10001 mirt\n" in final
    assert final.index("USER mirt\n") < final.index("ENTRYPOINT")


def test_only_the_proxy_has_public_ports() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published.pop("proxy") == ["80:80", "443:443"]
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_proxy_passes_the_webhooks_and_nothing_else() -> None:
    rules = (ROOT / "deploy/Caddyfile").read_text(encoding="utf-8")
    (paths,) = re.findall(r"^\t\tpath (.+)$", rules, re.MULTILINE)
    assert paths.split() == ["/webhooks/telegram", "/webhooks/manychat"]
    assert rules.count("reverse_proxy") == 1
    assert "respond 404" in rules


def test_the_service_is_no_superuser_of_the_database() -> None:
    script = (ROOT / "deploy/postgres/roles.sh").read_text(encoding="utf-8")
    assert "CREATE ROLE mirt LOGIN NOSUPERUSER" in script
    postgres = SERVICES["postgres"]["environment"]
    assert "POSTGRES_USER" not in postgres, "the image would make mirt a superuser"
    ours: dict[str, str] = COMPOSE["x-mirt"]["environment"]
    assert ours["DATABASE_URL"].startswith("postgresql://mirt:${POSTGRES_PASSWORD:?")
    assert ours["POSTGRES_ADMIN_PASSWORD"] == ""
