"""The page in a real browser: at the width of a phone and a desk, in light and dark, by keyboard.

`make test-page` runs this, and leaves pictures in .local/page to be looked at.
"""

import re
from collections.abc import Iterator
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from aep_intake.report import view
from aep_intake.report.page.frame import Frame, InBrowser, InDashboard, document
from aep_intake.report.visible import visible
from aep_intake_cli.site import Site
from playwright.sync_api import Browser, Page, ViewportSize

from local.stack import ROOT
from tests.pages import ARN, BUCKET, HOSTILE, LONG_ROUTE, ports

PICTURES = ROOT / ".local" / "page"
PORTS = ports()
PHONE, DESK = ViewportSize(width=360, height=740), ViewportSize(width=1440, height=900)
LOOKS = {
    f"{name}-{theme}": (size, theme)
    for name, size in (("phone", PHONE), ("desk", DESK))
    for theme in ("light", "dark")
}


def of_file(key: str) -> str:
    return f"?view=file&uri={quote(f's3://{BUCKET}/{key}', safe='')}"


PAGES = {"today": "", "route": f"?view=route&route={LONG_ROUTE}", "file": of_file(HOSTILE["all"])}

# The contrast of each text with what is behind it, by WCAG 2.2; the worst of them.
CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b]
    .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const rgba = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let worst = [99, ''];
  const walk = document.createTreeWalker(document.querySelector('.aep'), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.getClientRects().length) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, walk.currentNode.data];
  }
  return worst;
}"""
# Whatever sticks out of the window.
STICKS_OUT = """() => [...document.querySelectorAll('.aep, .aep *')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5 && e.getClientRects().length)
  .map(e => e.outerHTML.slice(0, 120))"""
FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return [e.tagName, e.name || e.textContent.trim(), style.outlineStyle, style.outlineWidth];
}"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The page as the operator's command serves it."""
    frame = Frame("aep-intake", InBrowser())
    with Site(lambda given: document(view.show(given, PORTS, frame), "aep-intake")) as served:
        thread = Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


in_two_looks = pytest.mark.parametrize(
    "page", [LOOKS["phone-light"], LOOKS["desk-dark"]], indirect=True, ids=["phone", "desk"]
)


@pytest.fixture(params=list(LOOKS.values()), ids=list(LOOKS))
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A window of the browser, in which no page may say anything on its console."""
    size, theme = request.param
    with browser.new_context(viewport=size, color_scheme=theme) as context:
        opened = context.new_page()
        said: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("dialog", lambda dialog: said.append(dialog.message))
        yield opened
        assert said == []


def test_everybody_can_read_it(page: Page, site: Site, request: Any) -> None:
    """It fits the window, has contrast, and a key is only text, whatever it looks like."""
    look = request.node.callspec.id
    for name, asked in PAGES.items():
        page.goto(site.address + asked)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.evaluate(STICKS_OUT) == [], name
        ratio, text = page.evaluate(CONTRAST)
        assert ratio >= 4.5, (name, text)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}-{look}.png", full_page=True)


@pytest.mark.parametrize("page", [LOOKS["phone-dark"]], indirect=True, ids=["phone-dark"])
def test_a_key_is_text_whatever_is_in_it(page: Page, site: Site) -> None:
    for key in HOSTILE.values():
        page.goto(site.address + of_file(key))
        assert page.locator("bdi").first.text_content() == f"s3://{BUCKET}/{visible(key)}"
        assert page.locator("script, iframe, img, object, embed, use").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), key


def tabbed(page: Page, name: str) -> None:
    """Go to what has this name, or text, by the keyboard alone; what has the focus is seen."""
    for _ in range(30):
        page.keyboard.press("Tab")
        tag, found, style, width = page.evaluate(FOCUS)
        if tag != "BODY":
            assert (style, width) == ("solid", "3px"), found
        if found == name:
            return
    pytest.fail(f"{name} cannot be reached")


@in_two_looks
def test_a_file_is_found_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.address)
    tabbed(page, "uri")
    page.keyboard.type(f"s3://{BUCKET}/{HOSTILE['attribute']}")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("view=file"))
    assert page.locator("h1").inner_text() == "Where is my file?"
    assert page.locator(".version .tag").inner_text() == "rejected"
    tabbed(page, "Today")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("view=today"))


@in_two_looks
def test_a_route_of_another_day_is_found_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.address)
    tabbed(page, "Day before")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("day=2026-11-27"))
    tabbed(page, "Day after")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("day=2026-11-28"))
    tabbed(page, "route")
    page.keyboard.type("route-00")
    tabbed(page, "Show")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("view=route"))
    assert page.locator("h1").inner_text() == "Route route-000"
    tabbed(page, "Day before")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("route=route-000&day=2026-11-27"))  # of the same route
    tabbed(page, "All routes")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("view=today&day=2026-11-27"))


# -- In CloudWatch ---------------------------------------------------------------------------------

# What its console does: an action acts for the element right before it, and sends all fields.
CONSOLE = """
const shown = document.querySelector('main');
const show = html => {
  shown.innerHTML = html;
  for (const action of shown.querySelectorAll('cwdb-action'))
    action.previousElementSibling.addEventListener('click', async () => {
      const fields = [...shown.querySelectorAll('input, select')].map(f => [f.name, f.value]);
      show(await invoke(JSON.parse(action.textContent), Object.fromEntries(fields)));
    });
};
"""


@in_two_looks
def test_the_widget_works_by_keyboard_in_a_dashboard(page: Page) -> None:
    sent: list[dict[str, Any]] = []

    def invoke(top: dict[str, Any], fields: dict[str, str]) -> str:
        event = top | {"widgetContext": {"forms": {"all": fields}, "params": {"view": "today"}}}
        sent.append(event)
        frame = Frame("aep-intake", InDashboard(ARN), "light")
        return str(view.show(view.of_widget(event), PORTS, frame))

    page.expose_function("invoke", invoke)
    page.set_content("<main style='width: 588px; max-width: 100%'></main>")
    page.add_script_tag(content=CONSOLE)
    page.evaluate("invoke({view: 'today'}, {}).then(show)")
    page.wait_for_selector("h1")
    tabbed(page, "uri")
    page.keyboard.type(f"s3://{BUCKET}/{HOSTILE['script']}")
    page.keyboard.press("Enter")  # which must not leave the console
    tabbed(page, "Find")
    page.keyboard.press("Enter")
    page.wait_for_selector(".version")
    assert page.url == "about:blank"
    assert HOSTILE["script"] in page.locator("bdi").first.inner_text()
    assert [event["view"] for event in sent] == ["today", "file"]
    tabbed(page, "Today")
    page.keyboard.press("Space")
    page.wait_for_selector("select")


# -- At its address ------------------------------------------------------------------------------


def test_no_other_page_can_frame_or_read_it(site: Site, browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(f"<iframe src='{site.address}'></iframe>")
        page.wait_for_timeout(300)
        assert "aep-intake" not in page.frames[-1].content()
        read = "address => fetch(address).then(a => a.text(), () => 'refused')"
        assert page.evaluate(read, site.address) == "refused"
