"""The page as a browser sees it, without the browser."""

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from falcon.testing import Result

from mirt.clock import Clock
from service.admin_ui.auth.roles import Role, Tokens
from service.admin_ui.auth.sessions import Sessions
from tests.unit.service.conftest import Ingress, Open

OPERATOR, READER = "operators-token", "readers-token"
OURS = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
PAGES = (
    "/ops",
    "/ops/conversations",
    "/ops/trace?id=7",
    "/ops/dead",
    "/ops/dead/letter?id=x",
    "/ops/orders",
    "/ops/queues",
    "/ops/today",
    "/ops/schedule",
    "/ops/audit",
)
FORMS = (
    "/ops/dead/decide",
    "/ops/handovers",
    "/ops/dead/edit",
    "/ops/orders",
    "/ops/queues",
    "/ops/pauses",
    "/ops/schedule",
    "/ops/tasks",
)


class Visit:
    """A visitor of the page: what it has in its jar, and what it asks for."""

    def __init__(self, here: Ingress, cookies: dict[str, str]) -> None:
        self.here = here
        self.cookies = cookies

    def get(self, address: str, **request: Any) -> Result:
        return self._ask("GET", address, **request)

    def post(self, address: str, fields: Any, **request: Any) -> Result:
        headers = {**OURS, **request.pop("headers", {})}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(fields, doseq=True)
        return self._ask("POST", address, headers=headers, body=body, **request)

    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.get("/ops").text)
        assert found, "the page has a form"
        return html.unescape(found[1])

    def send(self, address: str, **fields: Any) -> Result:
        """A form of the page."""
        return self.post(address, {"form_token": self.form_token(), **fields})

    def _ask(self, method: str, address: str, **request: Any) -> Result:
        path, _, query = address.partition("?")
        answer = self.here.client.simulate_request(
            method, path, query_string=query, cookies=self.cookies, **request
        )
        for name, cookie in answer.cookies.items():
            if cookie.value:
                self.cookies[name] = cookie.value
            else:
                self.cookies.pop(name, None)
        return answer


Come = Callable[..., Visit]


@pytest.fixture
def here(ingress: Open) -> Ingress:
    """An ingress that has tokens for both roles."""
    return ingress(ops_token=OPERATOR, ops_read_token=READER, trusted_proxies="127.0.0.1")


@pytest.fixture
def come(here: Ingress) -> Come:
    """Come with a session of this role, or with none."""

    def come(role: Role | None = Role.OPERATOR) -> Visit:
        return Visit(here, {} if role is None else {"mirt_ops": cookie(here, role)})

    return come


def cookie(here: Ingress, role: Role, *, clock: Clock | None = None, **tokens: Any) -> str:
    """A cookie as the page makes it; with other tokens, as another service would."""
    settings = here.runtime.settings.model_copy(update=tokens)
    known = Tokens(settings)
    credential = next(one for one in known.credentials if one.role is role)
    signing = Sessions(known, clock or here.runtime.clock, session_key=settings.session_key)
    return signing.begin(credential)
