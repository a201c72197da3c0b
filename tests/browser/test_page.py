"""An operator at the page: what is wrong is found by looking, and mended by a click."""

import os
import signal

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import READER, Window
from tests.deployment import Deployment, children, update
from tests.fakes import Hang, Status
from tests.polling import wait_until
from tests.servers import Postgres

REFUSED = Status(
    400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)
SCRIPT = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
PAGES = (
    "/ops",
    "/ops/conversations",
    "/ops/trace?id=21",
    "/ops/dead",
    "/ops/queues",
    "/ops/today",
    "/ops/orders",
    "/ops/schedule",
)


def test_a_stuck_conversation_is_found_and_seen_to_go_on_without_a_reload(
    window: Window, deployed: Deployment
) -> None:
    window.log_in()
    page = window.page
    expect(page.locator("#workers tbody tr")).to_have_count(1)
    expect(page.get_by_role("heading", name="Nothing is wrong")).to_be_visible()
    page.evaluate("window.kept = true")

    deployed.services.misbehave("llm", Hang())
    deployed.post(update(7, 1, "Привіт"))
    page.locator("#runs tbody").get_by_role("link", name="7", exact=True).click()
    expect(page.locator("#waits")).to_contain_text("process_and_respond waits for the agent")
    page.evaluate("window.kept = true")

    deployed.services.release()
    expect(page.locator("#waits")).to_contain_text("Nothing is running or waiting")
    expect(page.locator(".timeline li.delivered")).to_be_visible()
    expect(page.locator(".timeline")).to_contain_text("waited for the agent")
    assert page.evaluate("window.kept"), "it was not reloaded"
    assert "Привіт" not in page.content()
    page.get_by_role("link", name="Show texts").click()
    expect(page.locator("blockquote").first).to_have_text("Привіт")


def test_a_refused_reply_is_found_and_delivered_once_with_the_keyboard_alone(
    window: Window, deployed: Deployment
) -> None:
    deployed.services.misbehave("telegram", REFUSED, chat=8)
    deployed.post(update(8, 1, "Привіт"))
    wait_until(lambda: len(deployed.dead_letters()) == 1)

    window.go("/ops/login")
    page, keyboard = window.page, window.page.keyboard
    keyboard.type("operators-token")
    keyboard.press("Enter")
    page.wait_for_url("**/ops")
    expect(page.locator("#problems")).to_contain_text("1 dead letter: 1 of ")
    keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keyboard.press("Enter")
    window.press_until("Tab", "Look")
    keyboard.press("Enter")
    page.wait_for_url("**/ops/dead")
    window.press_until("Tab", "CHANNEL_REFUSED")
    keyboard.press("Enter")
    expect(page.locator(".exception")).to_contain_text("chat not found")
    window.press_until("Tab", "Replay…")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Replay 1 dead letter?")).to_be_visible()
    expect(page.get_by_role("button", name="Replay 1")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("status").get_by_text("1 dead letter replayed.")).to_be_visible()
    wait_until(lambda: len(deployed.services.sent(8)) == 1)
    assert len(deployed.services.requests("llm")) == 1, "the agent is not asked again"
    expect(page.locator("#total")).to_contain_text("There is no dead letter")


def test_a_full_dead_letter_queue_is_emptied_of_what_matches(
    window: Window, deployed: Deployment
) -> None:
    deployed.services.misbehave("telegram", REFUSED, times=60, match="hello")
    deployed.services.misbehave("llm", Status(400))
    deployed.post(update(9, 1, "Привіт"))
    deployed.python(
        "from actors.messages import send_response\n"
        "for chat in range(60): send_response.send('telegram', str(1000 + chat), 'hello')"
    )
    wait_until(lambda: len(deployed.dead_letters()) == 61)

    window.log_in()
    page = window.page
    page.locator("#queue-webhooks").get_by_role("link", name="60").click()
    expect(page.locator("#total")).to_have_text("60 dead letters match, page 1 of 2")
    page.get_by_label("Code").select_option("CHANNEL_REFUSED")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**code=CHANNEL_REFUSED**")
    page.get_by_role("button", name="Discard all that match").click()
    expect(page.get_by_role("heading", name="Discard 60 dead letters?")).to_be_visible()
    page.get_by_role("button", name="Discard 60").click()
    expect(page.locator(".said")).to_have_text("60 dead letters discarded.")
    expect(page.locator("#total")).to_contain_text("No dead letter matches")
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("#letters tbody tr")).to_have_count(1)
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Discard selected").click()
    page.get_by_role("button", name="Discard 1").click()
    expect(page.locator("#total")).to_contain_text("There is no dead letter")
    assert len(deployed.dead_letters()) == 0


def test_a_killed_worker_is_seen_and_its_task_begun_again(
    window: Window, deployed: Deployment
) -> None:
    deployed.services.misbehave("llm", Hang())
    window.log_in()
    workers = window.page.locator("#workers tbody tr")
    deployed.post(update(11, 1, "Привіт"))
    wait_until(lambda: deployed.services.requests("llm"))
    [old] = children(deployed.started[-1])
    expect(workers.filter(has_text=str(old))).to_contain_text("1 of 16")
    os.kill(old, signal.SIGKILL)
    expect(workers.filter(has_text=str(old))).to_have_count(0)
    expect(workers).to_have_count(1)
    wait_until(lambda: deployed.services.sent(11))
    window.go("/ops/trace?id=11")
    expect(window.page.locator(".timeline li.restarted")).to_contain_text("begun again")
    expect(window.page.locator(".timeline li.delivered")).to_be_visible()


def test_a_script_in_a_name_or_a_message_is_shown_and_does_not_run(
    window: Window, deployed: Deployment
) -> None:
    deployed.services.misbehave("llm", Status(400))
    body = update(21, 1, SCRIPT)
    body["message"]["from"]["first_name"] = SCRIPT
    deployed.post(body)
    wait_until(lambda: len(deployed.dead_letters()) == 1)
    window.log_in(READER)
    page = window.page
    page.get_by_role("link", name="Conversations").click()
    page.get_by_role("link", name=SCRIPT).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(SCRIPT)
    page.get_by_role("link", name="Show texts").click()
    expect(page.locator("blockquote").first).to_have_text(SCRIPT)
    page.get_by_role("link", name="Open the dead letter").click()
    page.get_by_role("link", name="Show texts").click()
    expect(page.locator(".arguments")).to_contain_text(SCRIPT)
    window.go("/ops/conversations")
    window.refreshes()
    assert page.evaluate("window.ran") is None
    assert page.get_by_role("button").all_inner_texts() == ["Pause", "Log out", "Search"]


def test_a_refresh_leaves_alone_what_is_typed_selected_and_focused(
    window: Window, deployed: Deployment
) -> None:
    deployed.services.misbehave("telegram", REFUSED, chat=12)
    deployed.post(update(12, 1, "Привіт"))
    wait_until(lambda: len(deployed.dead_letters()) >= 1)
    window.log_in()
    page = window.page
    window.go("/ops/dead")
    page.get_by_label("Conversation").fill("12")
    page.locator("#letters tbody input").first.check()
    page.get_by_label("Conversation").focus()
    deployed.services.misbehave("telegram", REFUSED, chat=13)
    deployed.post(update(13, 1, "Привіт"))
    expect(page.locator("#letters tbody tr").first).to_contain_text("13")
    window.refreshes()
    assert page.locator("#letters tbody input:checked").count() == 1
    assert page.get_by_label("Conversation").input_value() == "12"
    expect(page.get_by_label("Conversation")).to_be_focused()


def test_the_page_says_that_it_cannot_refresh_and_goes_on(
    window: Window, deployed: Deployment, postgres: Postgres
) -> None:
    window.log_in()
    window.expected = "status of 503"
    live = window.page.locator("#live")
    with postgres.frozen():
        expect(live).to_contain_text("The database cannot be reached – as of")
        expect(window.page.locator("#queues tbody tr")).to_have_count(6)
    expect(live).to_have_attribute("data-state", "live")


def test_without_javascript_everything_can_be_done(browser: Browser, deployed: Deployment) -> None:
    deployed.services.misbehave("telegram", REFUSED, chat=14)
    deployed.post(update(14, 1, "Привіт"))
    wait_until(lambda: len(deployed.dead_letters()) == 1)
    plain = browser.new_context(java_script_enabled=False)
    window = Window(plain.new_page(), f"http://127.0.0.1:{deployed.port}")
    window.log_in()
    page = window.page
    page.get_by_role("link", name="Look").first.click()
    page.locator("#letters tbody input").check()
    page.get_by_role("button", name="Replay selected").click()
    page.get_by_role("button", name="Replay 1").click()
    expect(page.locator(".said")).to_have_text("1 dead letter replayed.")
    wait_until(lambda: len(deployed.services.sent(14)) == 1)
    plain.close()
    assert window.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_everything_can_be_read(
    browser: Browser, deployed: Deployment, scheme: str
) -> None:
    phone = browser.new_context(
        viewport={"width": 360, "height": 740},
        is_mobile=True,
        has_touch=True,
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    deployed.post(update(21, 2, "Довге" * 100))
    window = Window(phone.new_page(), f"http://127.0.0.1:{deployed.port}")
    window.log_in()
    for address in PAGES:
        window.go(address)
        assert window.page.evaluate("document.documentElement.scrollWidth") == 360, address
        assert window.page.evaluate(CONTRASTS) == [], address
    phone.close()
    assert window.complaints == []


CONTRASTS = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || element.closest("svg, option") || !element.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.className || element.tagName} ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
}"""
"""Texts whose contrast is less than WCAG's AA asks for."""
