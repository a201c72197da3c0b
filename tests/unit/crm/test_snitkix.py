"""The CRM, over real HTTP."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from mirt.crm import CrmOrder
from mirt.crm.snitkix import SnitkixCrm
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
)
from mirt.orders import read_order
from mirt.orders.body import crm_body
from tests.fakes import FakeServices, Garbage, Reset, Status, TooMany
from tests.unit.orders.examples import order

BODY = crm_body(read_order(order()))


@pytest.fixture
def crm(services: FakeServices) -> Iterator[SnitkixCrm]:
    crm = SnitkixCrm(api_key=SecretStr("crm-secret"), api_url=services.crm_url)
    yield crm
    crm.close()


def test_an_order_is_created_with_the_real_key(crm: SnitkixCrm, services: FakeServices) -> None:
    created = crm.create(BODY)
    assert created == CrmOrder("crm-1", "order-1", "new")
    (request,) = services.requests("crm")
    assert request.headers["authorization"] == "Bearer crm-secret"
    assert request.body == BODY


@pytest.mark.parametrize(
    "body",
    [
        {"id": 7, "external_id": "order-1"},
        {"order_id": "7", "external_id": "order-1", "status": "new"},
        {"id": None, "order_id": 7, "external_id": "order-1"},
        {"data": {"id": "7", "external_id": "order-1"}},
    ],
)
def test_the_id_is_read_wherever_the_crm_has_put_it(
    crm: SnitkixCrm, services: FakeServices, body: object
) -> None:
    services.misbehave("crm", Status(201, body))
    assert crm.create(BODY) == CrmOrder("7", "order-1", "new")


@pytest.mark.parametrize("body", [{}, [], {"id": None}, {"id": ""}, {"data": []}, "created"])
def test_a_create_without_an_id_is_unknown(
    crm: SnitkixCrm, services: FakeServices, body: object
) -> None:
    services.misbehave("crm", Status(201, body))
    with pytest.raises(OutcomeUnknownError):
        crm.create(BODY)


@pytest.mark.parametrize("field", ["data", "orders"])
def test_a_list_of_orders_is_read_wherever_the_crm_has_put_it(
    crm: SnitkixCrm, services: FakeServices, field: str
) -> None:
    found = {"order_id": 7, "external_id": "order-1", "status": "pending"}
    services.misbehave("crm", Status(200, {field: [found]}))
    assert crm.find("order-1") == CrmOrder("7", "order-1", "pending_payment")


def test_an_order_is_found_by_our_own_name(crm: SnitkixCrm) -> None:
    created = crm.create(BODY)
    assert crm.find("order-1") == created
    assert crm.find("order-2") is None


def test_a_crm_that_gives_orders_of_others_has_not_found_ours(
    crm: SnitkixCrm, services: FakeServices
) -> None:
    others = {"orders": [{"id": 7, "external_id": "order-7", "status": "new"}]}
    services.misbehave("crm", Status(200, others))
    assert crm.find("order-1") is None


def test_a_status_is_told_in_our_words(crm: SnitkixCrm, services: FakeServices) -> None:
    order_id = crm.create(BODY).order_id
    services.crm.orders[0]["status"] = "pending"
    assert crm.get(order_id).status == "pending_payment"
    services.crm.orders[0]["status"] = "shipped"
    assert crm.get(order_id).status == "shipped"


def test_an_answer_without_a_status_hides_no_known_one(
    crm: SnitkixCrm, services: FakeServices
) -> None:
    services.misbehave("crm", Status(200, {"id": "crm-1", "external_id": "order-1"}))
    with pytest.raises(ExternalServiceError, match="without an order's status"):
        crm.get("crm-1")


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_of_our_key_is_an_outage(
    crm: SnitkixCrm, services: FakeServices, code: int
) -> None:
    services.misbehave("crm", Status(code, {"message": "Unauthenticated"}))
    with pytest.raises(OutageError, match=f"crm refuses us: {code} Unauthenticated") as outage:
        crm.create(BODY)
    assert outage.value.setting == "SNITKIX_API_KEY"


@pytest.mark.parametrize("code", [400, 404, 422])
def test_a_refusal_is_permanent_and_has_the_crms_own_words(
    crm: SnitkixCrm, services: FakeServices, code: int
) -> None:
    services.misbehave("crm", Status(code, {"message": "phone: is blacklisted"}))
    with pytest.raises(PermanentError, match="phone: is blacklisted") as refused:
        crm.create(BODY)
    assert refused.value.error_code == ErrorCode.CRM_REJECTED


@pytest.mark.parametrize("code", [408, 500, 502, 503, 504])
def test_a_create_that_fails_is_unknown(crm: SnitkixCrm, services: FakeServices, code: int) -> None:
    services.misbehave("crm", Status(code, applied=True))
    with pytest.raises(OutcomeUnknownError):
        crm.create(BODY)


@pytest.mark.parametrize("code", [408, 500, 504])
def test_a_look_up_that_fails_is_only_a_failure(
    crm: SnitkixCrm, services: FakeServices, code: int
) -> None:
    services.misbehave("crm", Status(code))
    with pytest.raises(ExternalServiceError) as failed:
        crm.find("order-1")
    assert not isinstance(failed.value, OutcomeUnknownError)


def test_a_crm_that_asks_to_wait_says_how_long(crm: SnitkixCrm, services: FakeServices) -> None:
    services.misbehave("crm", TooMany(17))
    with pytest.raises(RateLimitError) as told:
        crm.create(BODY)
    assert told.value.retry_after == 17


@pytest.mark.parametrize("what", [Reset(), Garbage()])
def test_a_create_without_an_answer_that_makes_sense_is_unknown(
    crm: SnitkixCrm, services: FakeServices, what: Reset | Garbage
) -> None:
    services.misbehave("crm", what)
    with pytest.raises(OutcomeUnknownError):
        crm.create(BODY)


@pytest.mark.parametrize("order_id", ["", "../health", "a/b", "a?b"])
def test_an_id_that_is_none_is_not_asked_for(
    crm: SnitkixCrm, services: FakeServices, order_id: str
) -> None:
    with pytest.raises(PermanentError, match="order_id"):
        crm.get(order_id)
    assert services.requests("crm") == []


def test_an_odd_id_of_a_created_order_is_kept_as_far_as_it_can_be(
    crm: SnitkixCrm, services: FakeServices
) -> None:
    services.misbehave("crm", Status(201, {"id": "7\0" + "x" * 3000, "status": "n" * 3000}))
    created = crm.create({"external_id": "e"})
    assert (created.order_id, len(created.status)) == ("7" + "x" * 199, 200)
