"""The ingress does what ``service/openapi.json`` describes, for generated requests."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from falcon.inspect import inspect_app
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

import service
from middleware.policy import QUEUES, TASKS
from mirt.errors import ErrorCode
from service.web import login_throttle
from service.web.errors import Code
from tests.deployment import SECRET
from tests.unit.service.conftest import Open

DOCUMENT = Path(service.__file__).with_name("openapi.json")


DESCRIBED = json.loads(DOCUMENT.read_text())
WEBHOOK = ("/webhooks/telegram", "POST")
PAGES = [f"/ops/{name}" for name in ("conversations", "trace", "dead", "dead/letter")]
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
MANY = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def as_json_is_written(body: Any) -> Any:
    """7.0 is an integer for JSON Schema; no client that sends integers writes them so."""
    return json.loads(json.dumps(body), parse_float=lambda number: int(float(number)))


@pytest.mark.parametrize(
    ("address", "mode"),
    [(WEBHOOK, RIGHT), (WEBHOOK, WRONG), (("/healthz", "GET"), RIGHT), (("/readyz", "GET"), RIGHT)],
)
def test_each_described_operation_conforms_to_its_schema(
    ingress: Open, address: tuple[str, str], mode: GenerationMode
) -> None:
    path, method = address
    schema = schemathesis.openapi.from_dict(DESCRIBED)
    schema.app = ingress(TASKS_EAGER=False).client.app

    @MANY
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def conforms(case: "schemathesis.Case[Any]") -> None:
        if mode is RIGHT and isinstance(case.body, dict):
            case.body = as_json_is_written(case.body)
        case.call_and_validate(headers={"X-Telegram-Bot-Api-Secret-Token": SECRET})

    conforms()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_every_parameter_that_is_described(
    ingress: Open, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each generated request is repeated with a wrong token, which must be answered 401.
    monkeypatch.setattr(login_throttle, "MOST_WRONG", 10**6)
    schema = schemathesis.openapi.from_dict(DESCRIBED)
    schema.app = ingress(ops_token="operators-token").client.app

    @MANY
    @given(schema[path]["GET"].as_strategy(generation_mode=RIGHT))
    def conforms(case: "schemathesis.Case[Any]") -> None:
        case.call_and_validate(headers={"Authorization": "Bearer operators-token"})

    conforms()


@pytest.mark.parametrize(
    ("name", "known"), [("queue", QUEUES), ("task", TASKS), ("code", ErrorCode)]
)
def test_a_filter_of_dead_letters_lists_every_value_that_it_takes(
    name: str, known: Iterable[str]
) -> None:
    parameters = DESCRIBED["paths"]["/ops/dead"]["get"]["parameters"]
    [described] = [one["schema"]["enum"] for one in parameters if one["name"] == name]
    assert described == ["", *known]


def test_every_route_is_described(ingress: Open) -> None:
    app: Any = ingress().client.app
    routes = [*inspect_app(app).routes, *inspect_app(app.in_threads).routes]
    served = {
        (route.path, method.method)
        for route in routes
        for method in route.methods
        if not method.internal and method.method != "HEAD"
    }
    paths = DESCRIBED["paths"]
    assert served == {(path, method.upper()) for path in paths for method in paths[path]}


@pytest.mark.parametrize("code", sorted({*Code} - {Code.NOT_FOUND, Code.INVALID_REQUEST}))
def test_every_code_is_described(code: str) -> None:
    assert code in DOCUMENT.read_text()
