"""Tokens have names, can be replaced without a refused request, and cannot be found in a cookie."""

import hashlib
from typing import Any

import pytest
from falcon.testing import Result
from itsdangerous import BadData, URLSafeTimedSerializer

from mirt.store.queue.audit import acts
from service.admin_ui.auth.roles import Role
from tests.unit.service.admin_ui.conftest import OPERATOR, Visit, cookie
from tests.unit.service.conftest import Ingress, Open

OLENA, TARAS = "olenas-own-token-1", "taras-own-token-22"
NAMES = f"olena:{OLENA}, taras:{TARAS}"


def enter(here: Ingress, token: str) -> Visit:
    visit = Visit(here, {})
    assert visit.post("/ops/login", {"token": token}).status_code == 303
    return visit


def bearer(here: Ingress, token: str) -> int:
    return Visit(here, {}).get("/ops", headers={"Authorization": f"Bearer {token}"}).status_code


def ask_for_a_summary(here: Ingress, token: str) -> Result:
    headers = {"Authorization": f"Bearer {token}"}
    return here.client.simulate_post("/tasks/summarize", json={"session_id": "7"}, headers=headers)


def test_an_operator_is_called_by_the_name_of_their_token(ingress: Open) -> None:
    here = ingress(ops_tokens=NAMES)
    visit = enter(here, TARAS)
    assert 'class="role">taras<' in visit.get("/ops").text
    visit.send("/ops/queues", queue="llm", confirmed="yes")
    with here.runtime.database.transaction() as tx:
        found = [(act.operator, act.door, act.act, act.target) for act in acts(tx, limit=9)]
    assert found == [("taras", "page", "purge", "queue llm"), ("taras", "page", "log in", None)]


def test_the_page_takes_both_values_of_a_token_while_it_is_replaced(ingress: Open) -> None:
    old, new = "the-old-token-of-all", "the-new-token-of-all"
    for here in (ingress(ops_token=f"{new},{old}"), ingress(ops_tokens=f"o:{new},o:{old}")):
        assert [bearer(here, token) for token in (new, old, f"{new},{old}")] == [200, 200, 401]
    tasks = ingress(tasks_token=f"{new},{old}")
    assert [ask_for_a_summary(tasks, token).status_code for token in (new, old)] == [202, 202]


def test_a_webhook_may_have_either_value_of_the_secret(ingress: Open) -> None:
    here = ingress(telegram_webhook_secret="new-secret,old-secret")
    for secret, status in (
        ("new-secret", 200),
        ("old-secret", 200),
        ("new-secret,old-secret", 401),
    ):
        assert here.post({"update_id": 1}, secret=secret).status_code == status


def test_the_tasks_have_a_token_of_their_own(ingress: Open) -> None:
    here = ingress(ops_token=OPERATOR, tasks_token="a-token-of-the-shop")
    assert ask_for_a_summary(here, "a-token-of-the-shop").status_code == 202
    assert ask_for_a_summary(here, OPERATOR).status_code == 401
    assert bearer(here, "a-token-of-the-shop") == 401


@pytest.mark.parametrize("settings", [{}, {"session_key": "a-key-for-the-sessions"}], ids=str)
def test_a_session_ends_when_its_token_is_gone(ingress: Open, settings: dict[str, Any]) -> None:
    before = ingress(ops_tokens=NAMES, **settings)
    cookies = {"mirt_ops": enter(before, OLENA).cookies["mirt_ops"]}
    assert Visit(before, dict(cookies)).get("/ops").status_code == 200
    for tokens in (f"taras:{TARAS}", f"olena:another-token-33,taras:{TARAS}"):
        after = ingress(ops_tokens=tokens, **settings)
        assert Visit(after, dict(cookies)).get("/ops").status_code == 401
    renamed = ingress(ops_tokens=f"olha:{OLENA}", **settings)
    assert Visit(renamed, dict(cookies)).get("/ops").status_code == 401


def test_a_session_outlives_the_change_of_the_key(ingress: Open) -> None:
    def enters(key: str) -> int:
        return (
            Visit(ingress(ops_token=OPERATOR, session_key=key), dict(old)).get("/ops").status_code
        )

    here = ingress(ops_token=OPERATOR, session_key="the-first-session-key")
    old = {"mirt_ops": cookie(here, Role.OPERATOR)}
    assert enters("the-next-session-key,the-first-session-key") == 200
    assert enters("the-next-session-key") == 401


def is_found_in(signed: str, key: str | bytes) -> bool:
    """Whether a captured cookie confirms a guess of the key that signed it."""
    signer = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    guess = URLSafeTimedSerializer(key, salt="mirt ops session", signer_kwargs=signer)
    try:
        guess.loads(signed)
    except BadData:
        return False
    return True


def test_a_cookie_confirms_no_guess_of_its_token(ingress: Open) -> None:
    slow = hashlib.scrypt(OPERATOR.encode(), salt=b"mirt ops operator operator", n=2**14, r=8, p=1)
    signed = cookie(ingress(ops_token=OPERATOR), Role.OPERATOR)
    assert [is_found_in(signed, key) for key in (OPERATOR, slow)] == [False, True]
    signed = cookie(
        ingress(ops_token=OPERATOR, session_key="some-random-key-of-ours"), Role.OPERATOR
    )
    assert [is_found_in(signed, key) for key in (OPERATOR, slow)] == [False, False]
