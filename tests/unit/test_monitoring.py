"""The files of ``monitoring`` name metrics that exist, and lead to what an operator has to do."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from middleware.policy import QUEUES, TASKS
from mirt.observe.instruments import Counter, Histogram, LookupGauge
from mirt.observe.metrics import REGISTER

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROMETHEUS = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
BOARD = json.loads((MONITORING / "grafana/boards/mirt.json").read_text())
PANELS = {panel["title"]: panel for panel in BOARD["panels"] if panel["type"] != "row"}
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
GIVEN_BY_PROMETHEUS = {"service", "instance", "job", "le"}


def expressions() -> Iterator[tuple[str, str]]:
    yield from ((name, rule["expr"]) for name, rule in ALERTS.items())
    for title, panel in PANELS.items():
        yield from ((title, target["expr"]) for target in panel["targets"])


EXPRESSIONS = list(expressions())


def registered(sample: str) -> str:
    """The metric that a sample belongs to."""
    bare = re.sub(r"_(bucket|sum|count)$", "", sample)
    return bare if isinstance(REGISTER.get(bare), Histogram) else sample


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_metric_that_is_asked_for_exists_and_has_those_labels(
    where: str, expression: str
) -> None:
    names = {registered(sample) for sample in re.findall(r"\bmirt_\w+", expression)}
    assert names - REGISTER.keys() == set()
    known = GIVEN_BY_PROMETHEUS | {label for name in names for label in REGISTER[name].labels}
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    used = {label.strip() for group in grouped for label in group.split(",")}
    used |= set(re.findall(r"[{,]\s*(\w+)=", expression.replace("ALERTS{alertstate=", "")))
    assert used <= known


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_a_counter_is_asked_for_its_growth_and_nothing_else_is(where: str, expression: str) -> None:
    for sample in re.findall(r"\bmirt_\w+", expression):
        metric = REGISTER[registered(sample)]
        growing = re.search(rf"(rate|increase)\({sample}\b", expression) is not None
        assert growing == isinstance(metric, Counter | Histogram), sample


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_a_figure_that_every_ingress_gives_is_taken_once(where: str, expression: str) -> None:
    for sample in re.findall(r"\bmirt_\w+", expression):
        if isinstance(REGISTER[registered(sample)], LookupGauge):
            around = rf"(max|min)( by \([^)]*\))? ?\({sample}\b|absent\({sample}\b"
            assert re.search(around, expression), f"{sample} in {expression}"


def test_every_metric_of_the_register_is_on_the_board_or_in_an_alert_or_says_why_not() -> None:
    shown = {registered(s) for _, text in EXPRESSIONS for s in re.findall(r"\bmirt_\w+", text)}
    # Messages are shown by outcome, ticks by age, health checks by result.
    assert REGISTER.keys() - shown == {
        "mirt_messages_started_total",
        "mirt_ticks_total",
        "mirt_health_check_age_seconds",
    }


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_summary_and_leads_to_its_section(name: str) -> None:
    annotations = ALERTS[name]["annotations"]
    assert annotations["summary"]
    page, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    anchors = [re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings]
    assert anchors.count(anchor) == 1
    assert anchor == name.lower()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_tested(name: str) -> None:
    tests = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    fires = [
        one
        for test in tests
        for one in test["alert_rule_test"]
        if one["alertname"] == name and one["exp_alerts"]
    ]
    assert fires


@pytest.mark.parametrize("name", REGISTER)
def test_every_metric_is_documented_with_its_labels(name: str) -> None:
    labels = REGISTER[name].labels
    written = f"`{name}{{{','.join(labels)}}}`" if labels else f"`{name}`"
    assert written in OPERATIONS


def test_only_tasks_and_queues_that_exist_are_asked_for() -> None:
    text = "\n".join(expression for _, expression in EXPRESSIONS)
    assert set(re.findall(r'task="(\w+)"', text)) <= TASKS.keys()
    assert set(re.findall(r'queue="(\w+)"', text)) <= QUEUES.keys()


def scraped() -> dict[str, int]:
    """Service and port of each target."""
    return {
        name: found["port"]
        for config in PROMETHEUS["scrape_configs"]
        for found in config["dns_sd_configs"]
        for name in found["names"]
    }


def test_every_process_of_the_service_is_scraped_where_it_serves() -> None:
    ours = {
        name: service
        for name, service in COMPOSE["services"].items()
        if service.get("image") == "mirt" and name != "migrate"
    }
    assert scraped().keys() == ours.keys()
    for name, service in ours.items():
        command = service["command"]
        setting = "OPS_PORT" if command[0] == "web" else "METRICS_PORT"
        port = service["environment"][setting]
        assert scraped()[name] == int(port)
    assert set(re.findall(r'service="([\w-]+)"', ALERTS["ServiceMissing"]["expr"])) == ours.keys()


def test_monitoring_is_a_profile_and_reads_what_is_here() -> None:
    for name in ("prometheus", "alertmanager", "grafana"):
        service = COMPOSE["services"][name]
        assert service["profiles"] == ["monitoring"]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            known = COMPOSE["volumes"]
            assert (ROOT / source).is_dir() if source.startswith(".") else source in known
    assert [n for n, s in COMPOSE["services"].items() if "profiles" in s] == [
        "prometheus",
        "alertmanager",
        "grafana",
    ]
    [manager] = PROMETHEUS["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]


def test_grafana_finds_its_board_and_its_source_by_the_names_that_are_used() -> None:
    provisioning = MONITORING / "grafana/provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    used = {target["datasource"]["uid"] for p in PANELS.values() for target in p["targets"]}
    assert used == {"${datasource}"}
    assert VARIABLES["datasource"]["current"]["value"] == source["uid"]
    [provider] = yaml.safe_load((provisioning / "dashboards/mirt.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    grafana: dict[str, Any] = COMPOSE["services"]["grafana"]
    assert f"./monitoring/grafana/boards:{folder}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (MONITORING / "grafana/boards" / home.removeprefix(f"{folder}/")).is_file()


def test_the_board_shows_the_queues_that_are_chosen() -> None:
    of_queues = [text for _, text in EXPRESSIONS if re.search(r"by \((task, )?queue\b", text)]
    shown = [target["expr"] for panel in PANELS.values() for target in panel["targets"]]
    assert [e for e in of_queues if e in shown and 'queue=~"$queue"' not in e] == []
    assert VARIABLES["queue"]["definition"] == "label_values(mirt_tasks, queue)"


def test_the_board_leads_to_the_page() -> None:
    [link] = BOARD["links"]
    assert link["url"] == "${page}"
    assert VARIABLES["page"]["current"]["value"].endswith("/ops")


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_processes_of_one_machine_have_a_port_each() -> None:
    procfile = (ROOT / "Procfile").read_text()
    lines = [line for line in procfile.splitlines() if not line.startswith(("release:", "web:"))]
    offsets = re.findall(r"--metrics-port \$\(\(METRICS_PORT\+(\d)\)\)", procfile)
    assert offsets == [str(number) for number in range(1, len(lines) + 1)]


def configuration_of_alertmanager(folder: Path, **environment: str) -> dict[str, Any]:
    """Run the start script with a stand-in for Alertmanager; return what it wrote."""
    config = folder / "alertmanager.yml"
    script = MONITORING / "alertmanager/start.sh"
    subprocess.run(
        ["/bin/sh", str(script)],
        env={"PATH": "/usr/bin:/bin", "CONFIG": str(config), "ALERTMANAGER": "true", **environment},
        check=True,
    )
    written: dict[str, Any] = yaml.safe_load(config.read_text())
    return written


def test_alerts_go_to_the_chat_that_is_configured_with_a_link_that_opens(tmp_path: Path) -> None:
    written = configuration_of_alertmanager(
        tmp_path,
        ALERT_TELEGRAM_TOKEN="1:token",
        ALERT_CHAT_ID="-1007",
        RUNBOOKS_URL="https://git.example/mirt/blob/main/",
    )
    [receiver] = written["receivers"]
    [telegram] = receiver["telegram_configs"]
    assert (telegram["bot_token"], telegram["chat_id"]) == ("1:token", -1007)
    assert (
        "https://git.example/mirt/blob/main/{{ .Annotations.runbook_url }}" in telegram["message"]
    )
    assert written["route"]["receiver"] == receiver["name"]


def test_without_a_chat_alerts_go_nowhere_and_alertmanager_starts(tmp_path: Path) -> None:
    assert configuration_of_alertmanager(tmp_path)["receivers"] == [{"name": "operators"}]
