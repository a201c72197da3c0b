"""No request is let in without a token, and nothing is done that no page has asked for."""

import html
import re
from datetime import datetime, timedelta
from functools import partial

import pytest
from falcon.testing import Result
from pydantic import SecretStr
from structlog.typing import EventDict

from mirt.clock import utc_now
from service.admin_ui.auth.roles import Role, Tokens
from service.admin_ui.auth.sessions import Sessions
from service.admin_ui.headers import CONTENT_POLICY
from service.admin_ui.static import StaticFiles
from service.web.login_throttle import MOST_ADDRESSES, MOST_WRONG, LoginThrottle
from tests.clock import NOON
from tests.unit.service.admin_ui.conftest import (
    FORMS,
    OPERATOR,
    OURS,
    PAGES,
    READER,
    Come,
    Visit,
    cookie,
)
from tests.unit.service.conftest import Ingress, Open


@pytest.mark.parametrize("address", PAGES)
def test_nobody_sees_a_page_without_a_token(come: Come, address: str) -> None:
    answer = come(None).get(address)
    assert answer.status_code == 401
    assert 'name="token"' in answer.text
    assert "Log out" not in answer.text


@pytest.mark.parametrize("address", FORMS)
def test_nobody_does_anything_without_a_token(come: Come, address: str) -> None:
    assert come(None).post(address, {"confirmed": "yes"}).status_code == 401


@pytest.mark.parametrize("address", PAGES)
@pytest.mark.parametrize("role", Role)
def test_readers_and_operators_see_every_page(come: Come, address: str, role: Role) -> None:
    assert come(role).get(address).status_code in {200, 404}


@pytest.mark.parametrize("given", ["", "wrong", OPERATOR[:-1], OPERATOR + "x", "ключ"])
def test_a_wrong_token_is_refused(come: Come, given: str) -> None:
    visit = come(None)
    answer = visit.post("/ops/login", {"token": given})
    assert answer.status_code == 401
    assert visit.cookies == {}
    bearer = {"Authorization": f"Bearer {given}".encode().decode("latin-1")}
    assert visit.get("/ops", headers=bearer).status_code == 401


@pytest.mark.parametrize(("token", "role"), [(OPERATOR, "operator"), (READER, "reader")])
def test_a_token_opens_a_session_or_lets_a_script_in(come: Come, token: str, role: str) -> None:
    visit = come(None)
    assert (
        visit.post("/ops/login", {"token": token, "to": "/ops/dead?queue=llm"}).headers["Location"]
        == "/ops/dead?queue=llm"
    )
    assert f'class="role">{role}<' in visit.get("/ops").text
    script = come(None).get("/ops", headers={"Authorization": f"Bearer {token}"})
    assert f'class="role">{role}<' in script.text


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/ops.evil", "/\\evil", "/ops?\r\nX: y"]
)
def test_a_login_leads_nowhere_else(come: Come, elsewhere: str) -> None:
    answer = come(None).post("/ops/login", {"token": OPERATOR, "to": elsewhere})
    assert answer.headers["Location"] == "/ops"


def test_a_cookie_that_was_not_made_here_is_refused(here: Ingress) -> None:
    real = cookie(here, Role.OPERATOR)
    body, at, signature = real.split(".")
    swapped = signature[1:] + signature[0]
    forgeries = (
        "",
        "x",
        "a.b.c",
        body,
        f"{body}.{at}.{swapped}",
        f"x{real}",
        f"{body}..{signature}",
    )
    for forged in forgeries:
        assert Visit(here, {"mirt_ops": forged}).get("/ops").status_code == 401
    assert Visit(here, {"mirt_ops": real}).get("/ops").status_code == 200


def test_a_session_ends_with_its_token(here: Ingress) -> None:
    other = cookie(here, Role.OPERATOR, ops_token=SecretStr("another-token"))
    assert Visit(here, {"mirt_ops": other}).get("/ops").status_code == 401


def test_a_readers_token_makes_no_operator(here: Ingress) -> None:
    forged = cookie(here, Role.OPERATOR, ops_token=SecretStr(READER), ops_read_token=None)
    assert Visit(here, {"mirt_ops": forged}).get("/ops").status_code == 401


def _at(time: datetime) -> datetime:
    return time


def test_a_session_that_is_used_ends_after_twelve_hours(here: Ingress) -> None:
    hours = 0.0
    tokens = Tokens(here.runtime.settings)
    sessions = Sessions(tokens, lambda: NOON + timedelta(hours=hours))
    given = sessions.begin(tokens.credentials[0])
    for hours in (*range(1, 12), 11.9):
        session = sessions.read(given)
        assert session is not None
        given, left_s = sessions.renew(session) or (given, None)
        assert left_s in (None, round((12 - hours) * 3600))
    hours = 12.1
    assert sessions.read(given) is None


def test_a_page_that_is_used_gets_a_new_cookie(here: Ingress) -> None:
    old = cookie(here, Role.OPERATOR, clock=partial(_at, utc_now() - timedelta(minutes=90)))
    visit = Visit(here, {"mirt_ops": old})
    given = visit.get("/ops").cookies["mirt_ops"]
    assert (given.http_only, given.same_site, given.path) == (True, "Strict", "/ops")
    assert given.max_age == pytest.approx(10.5 * 3600, abs=60)
    assert visit.get("/ops").status_code == 200
    assert "mirt_ops" not in visit.get("/ops").cookies, "once a minute is enough"


@pytest.mark.parametrize(("hours", "status"), [(1.9, 200), (2.1, 401)])
def test_an_idle_session_ends_after_two_hours(here: Ingress, hours: float, status: int) -> None:
    began = utc_now() - timedelta(hours=hours)
    old = cookie(here, Role.OPERATOR, clock=partial(_at, began))
    visit = Visit(here, {"mirt_ops": old})
    assert visit.get("/ops", headers={"X-Refresh": "1"}).status_code == status
    assert visit.cookies == {"mirt_ops": old}, "a page that refreshes itself is no use"


def test_a_logout_ends_a_session_over_https(come: Come) -> None:
    visit, https = come(None), {"X-Forwarded-Proto": "https"}
    visit.post("/ops/login", {"token": OPERATOR}, headers=https)
    page = visit.get("/ops", headers=https).text
    [form_token] = set(re.findall(r'name="form_token" value="([^"]+)"', page))
    answer = visit.post("/ops/logout", {"form_token": html.unescape(form_token)}, headers=https)
    gone = answer.cookies["__Secure-mirt_ops"]
    assert (gone.value, gone.secure, gone.path) == ("", True, "/ops")
    assert gone.expires is not None
    assert gone.expires < utc_now()
    assert visit.get("/ops", headers=https).status_code == 401


def test_over_https_no_cookie_counts_that_was_set_without(here: Ingress) -> None:
    planted = Visit(here, {"mirt_ops": cookie(here, Role.OPERATOR)})
    assert planted.get("/ops", headers={"X-Forwarded-Proto": "https"}).status_code == 401


@pytest.mark.parametrize("forwarded", [None, "https"])
def test_the_cookie_is_for_this_page_alone(come: Come, forwarded: str | None) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-Proto": forwarded}
    answer = come(None).post("/ops/login", {"token": OPERATOR}, headers=headers)
    given = answer.cookies["mirt_ops" if forwarded is None else "__Secure-mirt_ops"]
    assert (given.http_only, given.same_site, given.path) == (True, "Strict", "/ops")
    assert bool(given.secure) is (forwarded == "https")
    assert given.max_age == 12 * 3600
    assert OPERATOR not in given.value


def test_a_guesser_is_told_to_come_back_later_and_others_are_not(come: Come) -> None:
    guesser, other = ({"X-Forwarded-For": f"10.0.0.{n}"} for n in (1, 2))
    for _ in range(MOST_WRONG):
        come(None).post("/ops/login", {"token": "guess"}, headers=guesser)
    answer = come(None).post("/ops/login", {"token": OPERATOR}, headers=guesser)
    assert (answer.status_code, "mirt_ops" in answer.cookies) == (429, False)
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    bearer = {"Authorization": "Bearer guess", **guesser}
    assert come(None).get("/ops", headers=bearer).status_code == 429
    assert come(None).post("/ops/login", {"token": OPERATOR}, headers=other).status_code == 303


def test_a_guesser_behind_our_proxy_has_one_address_whatever_it_claims(come: Come) -> None:
    for number in range(MOST_WRONG + 1):
        claimed = {"X-Forwarded-For": f"10.0.0.{number}, 192.0.2.1"}
        answer = come(None).post("/ops/login", {"token": "guess"}, headers=claimed)
    assert "Retry-After" in answer.headers


def _guess_a_task(here: Ingress, token: str, address: str = "10.0.0.1") -> Result:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return here.client.simulate_post("/tasks/summarize", json={"session_id": "7"}, headers=headers)


def test_a_guesser_at_the_tasks_is_told_to_come_back_later_and_others_are_not(
    here: Ingress,
) -> None:
    guesses = [_guess_a_task(here, f"guess-{n}") for n in range(MOST_WRONG)]
    assert {answer.status_code for answer in guesses} == {401}
    answer = _guess_a_task(here, "guess")
    assert (answer.status_code, answer.json["error"]) == (429, "TOO_MANY_ATTEMPTS")
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert _guess_a_task(here, "guess", "10.0.0.2").status_code == 401


def test_a_guesser_stops_no_caller_who_has_the_right_bearer_token(
    here: Ingress, come: Come
) -> None:
    for _ in range(2 * MOST_WRONG):
        _guess_a_task(here, "guess")
    assert _guess_a_task(here, OPERATOR).status_code == 202
    bearer = {"Authorization": f"Bearer {OPERATOR}", "X-Forwarded-For": "10.0.0.1"}
    assert come(None).get("/ops", headers=bearer).status_code == 200


def test_a_guesser_without_a_proxy_has_one_address(ingress: Open) -> None:
    here = ingress(ops_token=OPERATOR)
    guesses = [_guess_a_task(here, "guess", f"10.0.{n // 250}.{n % 250}") for n in range(300)]
    statuses = [answer.status_code for answer in guesses]
    assert statuses == [401] * MOST_WRONG + [429] * (300 - MOST_WRONG)


def test_wrong_tokens_count_at_all_doors_together(here: Ingress, come: Come) -> None:
    guesser = {"X-Forwarded-For": "10.0.0.1"}
    for _ in range(MOST_WRONG // 2):
        assert _guess_a_task(here, "guess").status_code == 401
        come(None).post("/ops/login", {"token": "guess"}, headers=guesser)
    bearer = {"Authorization": "Bearer guess", **guesser}
    assert _guess_a_task(here, "guess").status_code == 429
    assert come(None).get("/ops", headers=bearer).status_code == 429
    assert come(None).post("/ops/login", {"token": OPERATOR}, headers=guesser).status_code == 429


def test_a_request_without_a_token_is_no_guess(ingress: Open, here: Ingress) -> None:
    for _ in range(MOST_WRONG + 1):
        answer = here.client.simulate_post("/tasks/summarize", json={"session_id": "7"})
        assert answer.status_code == 401
    nobody = ingress()
    for _ in range(MOST_WRONG + 1):
        assert _guess_a_task(nobody, "there-is-none").status_code == 401


def test_a_guesser_of_links_is_told_to_come_back_later(come: Come) -> None:
    visit = come(None)
    for _ in range(MOST_WRONG):
        assert visit.get("/ops?token=wrong").status_code == 303
    answer = visit.get("/ops?token=wrong")
    assert (answer.status_code, "mirt_ops" in answer.cookies) == (429, False)
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert "mirt_ops" in visit.get(f"/ops?token={OPERATOR}").cookies


def test_links_on_another_site_are_no_attempts_and_open_nothing(come: Come) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for _ in range(2 * MOST_WRONG):
        assert come(None).get("/ops?token=wrong", headers=foreign).status_code == 303
    assert come(None).get(f"/ops?token={OPERATOR}", headers=foreign).cookies == {}
    assert come(None).post("/ops/login", {"token": OPERATOR}).status_code == 303


def test_a_guesser_at_the_logout_is_told_to_come_back_later(come: Come) -> None:
    bearer = {"Authorization": "Bearer guess"}
    for _ in range(MOST_WRONG):
        assert come(None).post("/ops/logout", {}, headers=bearer).status_code == 303
    answer = come(None).post("/ops/logout", {}, headers=bearer)
    assert (answer.status_code, "Too many attempts" in answer.text) == (429, True)
    assert 1 <= int(answer.headers["Retry-After"]) <= 61


def test_a_minute_later_they_may_try_again() -> None:
    now = [0.0]
    attempts = LoginThrottle(clock=lambda: now[0])
    for _ in range(MOST_WRONG):
        assert attempts.wait_s("there") == 0
        attempts.count_wrong("there")
        now[0] += 1
    assert attempts.wait_s("there") == 60 - MOST_WRONG
    now[0] += 51
    assert attempts.wait_s("there") == 0


def test_a_guesser_is_forgotten_behind_ten_thousand_others_so_that_no_memory_grows() -> None:
    attempts = LoginThrottle(clock=lambda: 0.0)
    for _ in range(MOST_WRONG):
        attempts.count_wrong("guesser")
    for number in range(MOST_ADDRESSES - 1):
        attempts.count_wrong(f"address {number}")
    assert attempts.wait_s("guesser") > 0
    attempts.count_wrong("one more")
    assert attempts.wait_s("guesser") == 0


FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://["},
]


@pytest.mark.parametrize("address", FORMS)
@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
def test_a_form_of_another_site_is_refused_even_with_the_right_token(
    come: Come, address: str, headers: dict[str, str]
) -> None:
    visit = come()
    fields = {"form_token": visit.form_token(), "task": "sweep_mailboxes", "queue": "llm"}
    assert visit.post(address, fields, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
def test_nobody_is_logged_in_from_another_site(come: Come, headers: dict[str, str]) -> None:
    answer = come(None).post("/ops/login", {"token": OPERATOR}, headers=headers)
    assert (answer.status_code, "mirt_ops" in answer.cookies) == (401, False)


@pytest.mark.parametrize("address", FORMS)
def test_a_form_without_its_token_or_with_that_of_another_session_is_refused(
    come: Come, address: str
) -> None:
    visit, other = come(), come()
    for token in ("", "x", visit.cookies["mirt_ops"], other.form_token()):
        fields = {"form_token": token, "task": "sweep_mailboxes", "queue": "llm"}
        assert visit.post(address, fields).status_code == 403


def test_our_own_form_is_taken_also_from_a_browser_that_says_where_it_is(come: Come) -> None:
    visit = come()
    fields = {"form_token": visit.form_token(), "task": "sweep_mailboxes"}
    headers = {"Origin": "http://falconframework.org"}
    assert visit.post("/ops/schedule", fields, headers={**OURS, **headers}).status_code == 303


@pytest.mark.parametrize("address", FORMS)
def test_a_reader_has_no_buttons_and_is_refused(come: Come, address: str) -> None:
    visit = come(Role.READER)
    assert visit.send(address, task="sweep_mailboxes", queue="llm").status_code == 403
    bearer = {"Authorization": f"Bearer {READER}"}
    assert come(None).post(address, {"queue": "llm"}, headers=bearer).status_code == 403
    for page in PAGES:
        forms = re.findall(r'<form method="post" action="([^"]+)"', visit.get(page).text)
        assert set(forms) <= {"/ops/logout"} | (
            {"/ops/dead/decide"} if page == "/ops/dead" else set()
        )


def test_a_readers_token_starts_no_work(here: Ingress) -> None:
    for token, status in ((READER, 401), (OPERATOR, 202)):
        answer = here.client.simulate_post(
            "/tasks/summarize",
            json={"session_id": "7"},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == status


def test_a_script_with_the_token_needs_no_form(come: Come) -> None:
    bearer = {"Authorization": f"Bearer {OPERATOR}", "Sec-Fetch-Site": "cross-site"}
    answer = come(None).post("/ops/schedule", {"task": "sweep_mailboxes"}, headers=bearer)
    assert "sweep_mailboxes runs now" in answer.json["message"]


def test_after_the_logout_the_browser_has_no_session(come: Come) -> None:
    for role in Role:
        visit = come(role)
        assert visit.send("/ops/logout").status_code == 303
        assert visit.get("/ops").status_code == 401


def test_a_copied_cookie_is_refused_after_the_logout(here: Ingress, come: Come) -> None:
    visit = come()
    copied = Visit(here, dict(visit.cookies))
    assert copied.get("/ops").status_code == 200
    visit.send("/ops/logout")
    for address in PAGES:
        assert copied.get(address).status_code == 401
    assert copied.post("/ops/queues", {"queue": "llm"}).status_code == 401
    assert come().get("/ops").status_code == 200, "the next session has another id"


def test_another_site_logs_nobody_out(come: Come) -> None:
    visit = come()
    visit.post("/ops/logout", {}, headers={"Sec-Fetch-Site": "cross-site"})
    assert visit.get("/ops").status_code == 200


@pytest.mark.parametrize("address", [*PAGES, "/ops/login", "/ops/nothing", "/ops/static/ops.js"])
def test_every_answer_tells_the_browser_what_may_run(come: Come, address: str) -> None:
    for visit in (come(), come(None)):
        headers = visit.get(address).headers
        assert headers["Content-Security-Policy"] == CONTENT_POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        if "static" not in address:
            assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["ops.js", "ops.css", "icon.svg"])
def test_a_file_is_kept_under_the_address_of_its_own_version_only(come: Come, name: str) -> None:
    own = StaticFiles().address(name)
    assert own.startswith(f"/ops/static/{name}?v=")
    kept = come(None).get(own).headers["Cache-Control"]
    assert set(kept.split(", ")) == {"public", "max-age=31536000", "immutable"}
    another = own[:-1] + ("0" if own[-1] != "0" else "1")
    for address in (another, f"/ops/static/{name}?v=", f"/ops/static/{name}"):
        answer = come(None).get(address)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


def test_no_other_answer_is_changed_by_that(here: Ingress) -> None:
    assert "Content-Security-Policy" not in here.client.simulate_get("/healthz").headers


@pytest.mark.parametrize("address", PAGES)
def test_a_page_holds_no_script_and_no_style_of_its_own(come: Come, address: str) -> None:
    page = come().get(address).text
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page) == []


def test_without_a_token_in_the_settings_the_page_says_what_to_set(ingress: Open) -> None:
    here = ingress()
    for address in (*PAGES, "/ops/login"):
        answer = Visit(here, {}).get(address)
        assert answer.status_code == 404
        assert "OPS_TOKEN" in answer.text
    for address in (*FORMS, "/ops/login"):
        assert Visit(here, {}).post(address, {"token": ""}).status_code == 404


def test_the_printed_link_opens_a_session_and_forgets_the_token(
    come: Come, logs: list[EventDict]
) -> None:
    visit = come(None)
    answer = visit.get(f"/ops?token={OPERATOR}")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ops")
    assert visit.get("/ops").status_code == 200
    assert OPERATOR not in str(logs)


def test_a_wrong_link_opens_nothing(come: Come) -> None:
    visit = come(None)
    assert visit.get("/ops?token=wrong").status_code == 303
    assert visit.get("/ops").status_code == 401
