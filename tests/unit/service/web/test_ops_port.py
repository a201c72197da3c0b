"""With OPS_PORT the port of the webhooks serves the world, and the other one serves operators."""

import pytest

from service.processes.startup import addresses
from tests.deployment import update
from tests.unit.service.conftest import Ingress, Open

INNER = ("/readyz", "/metrics", "/ops", "/ops/static/ops.js", "/tasks/order")


@pytest.fixture
def divided(ingress: Open) -> Ingress:
    return ingress({"ops_port": 9000}, ops_token="operators-token")


@pytest.mark.parametrize("path", INNER)
def test_the_port_of_the_webhooks_has_no_page(divided: Ingress, path: str) -> None:
    assert divided.client.simulate_get(path, port=8000).status_code == 404
    assert divided.client.simulate_get(path, port=9000).status_code != 404


def test_webhooks_and_liveness_are_on_the_port_of_the_webhooks(divided: Ingress) -> None:
    assert divided.client.simulate_get("/healthz", port=8000).status_code == 200
    assert divided.post(update(7, 1, "hello"), port=8000).json == {"status": "accepted"}


def test_the_ingress_listens_where_it_is_told_to() -> None:
    assert addresses({}) == ["0.0.0.0:8000"]
    settings = {"PORT": "80", "WEB_HOST": "10.0.0.1", "OPS_PORT": "81"}
    assert addresses(settings) == ["10.0.0.1:80", "127.0.0.1:81"]
    assert addresses({"OPS_PORT": "81", "OPS_HOST": "10.0.0.2"})[1] == "10.0.0.2:81"
