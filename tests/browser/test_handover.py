"""A person answers a customer on the page, while the page refreshes itself."""

import json

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Window
from tests.browser.test_page import CONTRASTS
from tests.deployment import Deployment, update
from tests.polling import wait_until


def asks_for_a_person(deployed: Deployment) -> None:
    """Have the agent ask for a person in its next answers."""
    reason = json.dumps({"reason": "просить людину"})
    deployed.services.llm.calls = lambda _: [("ask_a_person", reason)]


def test_a_customer_is_answered_by_a_person_who_types_while_more_comes_in(
    window: Window, deployed: Deployment
) -> None:
    asks_for_a_person(deployed)
    deployed.post(update(41, 1, "Покличте людину"))
    wait_until(lambda: deployed.services.sent(41))
    window.log_in()
    page = window.page
    row = page.locator("#handovers tbody tr")
    expect(row).to_contain_text("asks for a person")
    expect(row).to_contain_text("просить людину")
    row.get_by_role("link", name="Оля").click()
    expect(page.get_by_role("heading", name="The agent asks for a person")).to_be_visible()
    page.get_by_role("button", name="Take over").click()
    expect(page.get_by_role("heading", name="operator answers")).to_be_visible()

    reply = page.get_by_label("Your reply")
    reply.fill("Доброго дня, я О")
    deployed.post(update(41, 2, "Ви тут?"))
    expect(page.locator(".talk .unanswered")).to_contain_text("Ви тут?")
    window.refreshes()
    assert reply.input_value() == "Доброго дня, я О"
    expect(reply).to_be_focused()
    page.keyboard.type("лена")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".said")).to_have_text("Your reply is on its way.")
    wait_until(lambda: deployed.services.sent(41)[1:] == ["Доброго дня, я Олена"])
    expect(page.locator(".talk .unanswered")).to_have_count(0)
    expect(page.locator(".talk .person")).to_contain_text("Доброго дня, я Олена")
    assert reply.input_value() == ""

    deployed.services.llm.calls = lambda _: []
    deployed.post(update(41, 3, "Дякую"))
    expect(page.locator(".talk .unanswered")).to_contain_text("Дякую")
    page.get_by_role("button", name="Hand back to the bot").click()
    expect(page.get_by_role("heading", name="The bot answers")).to_be_visible()
    wait_until(lambda: deployed.services.sent(41)[2:] == ["echo: Дякую"])
    expect(page.locator(".timeline")).to_contain_text("operator handed the conversation back")
    window.go("/ops")
    expect(page.locator("#handovers")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_forms_of_a_person_fit_a_phone_and_can_be_read(
    browser: Browser, deployed: Deployment, scheme: str
) -> None:
    chat = 42 if scheme == "light" else 43
    asks_for_a_person(deployed)
    deployed.post(update(chat, 1, "Довге " * 60))
    wait_until(lambda: deployed.services.sent(chat))
    phone = browser.new_context(
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    window = Window(phone.new_page(), f"http://127.0.0.1:{deployed.port}")
    window.log_in()
    page = window.page

    def check(name: str) -> None:
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, name
        assert page.evaluate(CONTRASTS) == [], name

    check("now")
    window.go(f"/ops/trace?id={chat}")
    check("asked")
    page.get_by_role("button", name="Take over").click()
    deployed.post(update(chat, 2, "А це чекає"))
    expect(page.locator(".talk .unanswered")).to_contain_text("А це чекає")
    page.get_by_label("Your reply").fill("Відповідь людини, яка довша за один рядок на телефоні")
    check("person")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".talk .person")).to_contain_text("Відповідь людини")
    check("answered")
    page.get_by_role("button", name="Hand back to the bot").click()
    phone.close()
    assert window.complaints == []
