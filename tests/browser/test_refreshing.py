"""The page refreshes itself calmly: it can be paused, and a screen reader hears changes only."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, Window
from tests.deployment import Deployment, update
from tests.polling import wait_until
from tests.servers import Postgres

WATCH = """() => {
  window.heard = [];
  for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
    new MutationObserver(() => window.heard.push(region.textContent))
      .observe(region, { childList: true, characterData: true, subtree: true });
  }
}"""
"""Collects in ``window.heard`` the texts that a screen reader is told from now on."""
TIME = re.compile(r"\d\d:\d\d:\d\d")


def heard(page: Page) -> list[str]:
    texts: list[str] = page.evaluate("window.heard")
    return texts


def test_a_screen_reader_is_told_of_no_refresh(window: Window) -> None:
    window.log_in()
    window.page.evaluate(WATCH)
    for _ in range(3):
        window.refreshes()
    assert heard(window.page) == []


def test_a_screen_reader_is_told_once_that_the_page_is_old_and_once_that_it_is_not(
    window: Window, postgres: Postgres
) -> None:
    window.log_in()
    page = window.page
    window.expected = "status of 503"
    page.evaluate(WATCH)
    live = page.locator("#live")
    with postgres.frozen():
        expect(live).to_contain_text("The database cannot be reached – as of")
        asked = page.evaluate("performance.getEntriesByType('resource').length")
        page.wait_for_function(
            "asked => performance.getEntriesByType('resource').length > asked + 1", arg=asked
        )
        assert len(heard(page)) == 1
    expect(live).to_have_text("This page is refreshed again")
    window.refreshes()
    window.refreshes()
    assert len(heard(page)) == 2


def test_an_old_page_can_still_be_read(window: Window, postgres: Postgres) -> None:
    window.log_in()
    window.expected = "status of 503"
    main = window.page.locator("#main")
    with postgres.frozen():
        expect(main).to_have_attribute("data-stale", "")
        assert main.evaluate("element => getComputedStyle(element).opacity") == "1"


def test_a_paused_page_asks_for_nothing_until_it_is_resumed(
    window: Window, deployed: Deployment
) -> None:
    page = window.page
    page.clock.install()
    window.log_in()
    window.press_until("Tab", "Pause")
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text("Paused")
    before = page.locator("#clock").inner_text()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(60_000)
    assert page.evaluate("new Promise(done => requestAnimationFrame(() => done(1)))") == 1
    assert asked == []
    assert page.locator("#clock").inner_text() == before

    page.get_by_role("link", name="Queues").click()
    expect(page.get_by_role("button", name="Resume refreshing")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Paused")
    page.get_by_role("button", name="Resume refreshing").click()
    window.refreshes()
    expect(page.get_by_role("button", name="Pause refreshing")).to_have_text("Pause")


def test_times_are_those_of_the_operator_with_utc_in_the_title(
    browser: Browser, deployed: Deployment
) -> None:
    deployed.post(update(31, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(31))
    there = browser.new_context(
        viewport=DESKTOP,  # type: ignore[arg-type]
        timezone_id="Asia/Kolkata",
    )
    window = Window(there.new_page(), f"http://127.0.0.1:{deployed.port}")
    window.log_in()
    clock = window.page.locator("#clock")
    expect(clock).to_contain_text("IST")
    shown = TIME.search(clock.inner_text())
    title = clock.get_attribute("title") or ""
    in_utc = TIME.search(title)
    assert shown is not None
    assert in_utc is not None
    assert title.endswith("UTC")
    ahead = (_seconds(shown[0]) - _seconds(in_utc[0])) % 86_400
    assert ahead == 5.5 * 3600
    window.go("/ops/trace?id=31")
    step = window.page.locator(".timeline time").first
    assert "UTC" in (step.get_attribute("title") or "")
    assert step.inner_text() not in (step.get_attribute("title") or "")
    there.close()
    assert window.complaints == []


def test_without_javascript_times_are_in_utc(browser: Browser, deployed: Deployment) -> None:
    plain = browser.new_context(java_script_enabled=False, timezone_id="Asia/Kolkata")
    window = Window(plain.new_page(), f"http://127.0.0.1:{deployed.port}")
    window.log_in()
    expect(window.page.locator("#clock")).to_contain_text("UTC")
    expect(window.page.get_by_text("Pause")).to_be_hidden()
    plain.close()


def test_the_values_of_each_plot_are_a_table(window: Window, deployed: Deployment) -> None:
    deployed.post(update(32, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(32))
    window.log_in()
    plots = window.page.locator("figure.plot")
    expect(plots).to_have_count(3)
    for plot in plots.all():
        plot.locator("summary").click()
    expect(plots.nth(0).locator("tbody tr")).not_to_have_count(0)
    window.refreshes()
    expect(plots.nth(0).locator("details")).to_have_attribute("open", "")
    expect(plots.nth(1).get_by_role("columnheader")).to_have_text(
        [re.compile(r"^Minute \("), "Average", "Slowest"]
    )
    expect(plots.nth(2).locator(".none")).to_have_text("Nothing failed for good in the last hour.")


def _seconds(time: str) -> int:
    hours, minutes, seconds = map(int, time.split(":"))
    return hours * 3600 + minutes * 60 + seconds
