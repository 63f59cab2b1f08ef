"""The page in a real Chromium: what a person sees, clicks and types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from aimlapi_images.gallery import write_gallery
from browser import INSTALLED, browser
from galleries import REFUSAL, Made, picture, store

pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="needs chromium and chromedriver"),
    pytest.mark.xdist_group("browser"),  # one for all
]

ATTACKS = (
    "<script>document.title='broken'</script>",
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "\" ' ` & &amp; \\ ${document.title='broken'} {{7*7}}",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "x" * 32_000,
)


@attrs.define
class Gallery:
    """A page in the browser."""

    driver: Chrome

    def show(self, out: Path) -> None:
        self.driver.get(write_gallery(out).as_uri())

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        WebDriverWait(self.driver, 10, 0.02).until(lambda _: self.run(f"return {script}"))

    @property
    def prompts(self) -> list[str]:
        return [each.text for each in self.all("#grid .prompt")]

    @property
    def count(self) -> str:
        return self.one("#count").text

    @property
    def problems(self) -> list[str]:
        """What the browser has complained about, such as a violation of the policy."""
        entries: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries]


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def gallery(chrome: Chrome) -> Gallery:
    return Gallery(chrome)


@pytest.fixture
def zoo(gallery: Gallery, tmp_path: Path) -> Path:
    """A page of four jobs, one of which was refused."""
    large, low = {"size": "1536x1024"}, {"quality": "low"}
    made = [
        Made(id="fox", prompt="A red fox", parameters=large, data=(picture("red"),), usd=0.05, seconds=9.0),
        Made(id="owl", prompt="A snowy owl", parameters=low, data=(picture("gray"),), usd=0.009, seconds=20.0),
        Made(id="no", prompt="A forbidden fruit", parameters=low, error=REFUSAL),
        Made(id="eel", prompt="An eel", parameters=large, carried={"sku": "E-1"}, data=(picture("navy"),), usd=0.2),
    ]
    gallery.show(store(tmp_path / "zoo", made))
    return tmp_path / "zoo"


def test_images_failures_and_totals_are_shown(gallery: Gallery, zoo: Path) -> None:
    gallery.wait("[...document.images].every((image) => image.naturalWidth > 0)")

    assert gallery.driver.title == "zoo – gallery"
    assert gallery.one("#totals").text.startswith("3 of 4 jobs done · $0.259 spent · ")
    assert gallery.prompts == ["A red fox", "A snowy owl", "A forbidden fruit", "An eel"]
    assert gallery.run("return [...document.images].every((image) => image.src.endsWith('.webp'))")
    assert [each.text for each in gallery.all(".badge")] == ["⊘ refused"]
    assert "Your request was rejected by the safety system." in gallery.one(".why").text
    assert gallery.problems == []


def test_search_answers_while_typing(gallery: Gallery, zoo: Path) -> None:
    search = gallery.one("#search")
    found = []
    for letter in "FO X":
        search.send_keys(letter)
        found.append(gallery.prompts)
    search.send_keys("q")

    assert found == [["A red fox", "A forbidden fruit"]] * 3 + [["A red fox"]]
    assert gallery.count == "0 of 4 results, $0.00. Nothing matches: change the search or the filters."
    gallery.one("#reset").click()
    assert len(gallery.prompts) == 4
    search.send_keys("e-1")
    assert gallery.prompts == ["An eel"]
    gallery.press(Keys.BACKSPACE * 3, "safety system")
    assert gallery.prompts == ["A forbidden fruit"]


def test_status_parameters_and_reasons_narrow_the_grid(gallery: Gallery, zoo: Path) -> None:
    states = {each.get_attribute("data-state"): each for each in gallery.all("#states button")}
    selects = {
        each.text.partition("\n")[0]: Select(each.find_element(By.CSS_SELECTOR, "select"))
        for each in gallery.all("#filters label")
    }
    assert [each.text for each in states.values()] == ["all 4", "✓ done 3", "⊘ refused 1"]
    assert [option.text for option in selects["size"].options] == ["all", "(not set) (2)", "1536x1024 (2)"]

    states["done"].click()
    selects["quality"].select_by_value("low")

    assert gallery.prompts == ["A snowy owl"]
    assert gallery.count == "1 of 4 results, $0.009"
    assert states["done"].get_attribute("aria-pressed") == "true"
    gallery.one("#reset").click()
    gallery.one("summary").click()
    reason = gallery.one("#reasons button")
    assert reason.text.startswith("1 × refused: ContentPolicyError: HTTP 400")
    reason.click()
    assert gallery.prompts == ["A forbidden fruit"]
    reason.click()
    assert len(gallery.prompts) == 4


@pytest.mark.parametrize(
    ("order", "first"),
    [("usd", "An eel"), ("cheap", "A snowy owl"), ("seconds", "A snowy owl"), ("order", "A red fox")],
)
def test_cards_are_sorted_and_those_without_a_value_are_last(
    gallery: Gallery, zoo: Path, order: str, first: str
) -> None:
    Select(gallery.one("#sort")).select_by_value(order)

    assert gallery.prompts[0] == first
    assert order == "order" or gallery.prompts[-1] == "A forbidden fruit"


def test_keys_reach_everything(gallery: Gallery, zoo: Path) -> None:
    gallery.press("/")
    assert gallery.driver.switch_to.active_element == gallery.one("#search")
    gallery.all(".card")[0].send_keys(Keys.ARROW_RIGHT)
    gallery.press(Keys.END, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert "owl" in gallery.driver.switch_to.active_element.accessible_name

    gallery.press(Keys.ENTER)
    assert gallery.one("#view-name").text == "owl"
    gallery.press(Keys.ARROW_RIGHT)
    assert gallery.one("#view-name").text == "no"
    assert gallery.one("#stage").text == "⊘ refused"
    assert gallery.one("#view-error").text.startswith("ContentPolicyError: HTTP 400")
    gallery.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert (gallery.one("#view-name").text, gallery.one("#position").text) == ("eel", "4 of 4")
    gallery.press(Keys.ESCAPE)

    assert not gallery.one("#view").is_displayed()
    assert "eel" in gallery.driver.switch_to.active_element.accessible_name


def test_the_full_view_has_the_image_and_what_is_known_about_it(gallery: Gallery, zoo: Path) -> None:
    gallery.all(".card")[3].click()
    gallery.wait("document.querySelector('#stage img').naturalWidth === 60")

    terms, values = gallery.all("#facts dt"), gallery.all("#facts dd")
    facts = {term.text: value.text for term, value in zip(terms, values, strict=True)}
    assert facts["size"] == "1536x1024"
    assert facts["sku"] == "E-1"
    assert (facts["cost"], facts["pixels"], facts["request id"]) == ("$0.20", "60 × 40", "order-4.01234567.1")
    assert (gallery.one("#open").get_attribute("href") or "").endswith("/zoo/name-4-1%20%231%25%3F.png")
    assert gallery.one("#stage img").get_attribute("alt") == "An eel"
    gallery.one("#close").click()
    assert not gallery.one("#view").is_displayed()


@pytest.mark.parametrize("clipboard", ["text => window.copied = text", "() => Promise.reject()"])
def test_prompt_and_job_are_copied(gallery: Gallery, zoo: Path, clipboard: str) -> None:
    gallery.run(
        f"navigator.clipboard.writeText = {clipboard};"
        "document.oncopy = () => window.copied = document.activeElement.value"
    )
    gallery.all(".card")[3].click()

    gallery.one("#copy-prompt").click()
    gallery.wait("document.getElementById('copied').textContent === 'Copied'")
    assert gallery.run("return window.copied") == "An eel"
    gallery.one("#copy-job").click()

    gallery.wait("window.copied.startsWith('{')")
    parameters = {"model": "openai/gpt-image-1-5", "size": "1536x1024"}
    job = {"id": "eel", "prompt": "An eel", **parameters, "metadata": {"sku": "E-1"}}
    assert json.loads(gallery.run("return window.copied")) == job


def test_every_control_has_a_name(gallery: Gallery, zoo: Path) -> None:
    gallery.one("summary").click()
    outside = gallery.all("header button, header input, header select, .card")
    named = [each.accessible_name for each in outside if each.is_displayed()]
    gallery.all(".card")[0].click()
    inside = gallery.all("dialog button, dialog a, dialog img")

    named += [each.accessible_name for each in inside if each.is_displayed()]
    assert len(named) > 15
    assert all(named), named
    assert {"Search", "size", "Sort", "fox, done: A red fox", "Next image", "Copy as job"} <= set(named)
    assert gallery.one("#view").accessible_name == "fox"


def test_hostile_texts_show_as_text(gallery: Gallery, tmp_path: Path) -> None:
    made = [
        Made(
            id=f"{number} {attack[:200]}",
            prompt=attack,
            carried={attack[:99]: attack},
            parameters={"user": attack},
            data=(picture(),) if number % 2 else (),
            error=None if number % 2 else REFUSAL,
        )
        for number, attack in enumerate(ATTACKS)
    ]

    gallery.show(store(tmp_path / "<i>zoo", made))
    gallery.all(".card")[0].click()
    shown = []
    for _ in ATTACKS:
        shown.append(gallery.run("return document.getElementById('prompt').textContent"))
        gallery.press(Keys.ARROW_RIGHT)

    assert shown == list(ATTACKS)
    assert gallery.driver.title == "<i>zoo – gallery"
    assert gallery.run("return document.querySelectorAll('script, i, #grid img').length") == 1 + len(ATTACKS) // 2
    assert gallery.one("#prompt").value_of_css_property("white-space") == "pre-wrap"
    assert gallery.run("return document.documentElement.scrollWidth <= innerWidth")
    assert gallery.problems == []


def test_of_ten_thousand_cards_only_those_in_sight_exist(gallery: Gallery, tmp_path: Path) -> None:
    fox = picture()
    made = (Made(id=f"job-{number}", prompt=f"Fox number {number}", data=(fox,), usd=0.01) for number in range(10_000))

    gallery.show(store(tmp_path, made))

    assert gallery.count == "10,000 results, $100.00"
    assert 0 < len(gallery.all(".card")) < 100
    gallery.run("scrollTo(0, document.body.scrollHeight)")
    gallery.wait("[...document.querySelectorAll('#grid .prompt')].at(-1).textContent === 'Fox number 9999'")
    assert len(gallery.all(".card")) < 100
    gallery.one("#search").send_keys("number 777")
    assert gallery.count == "19 of 10,000 results, $0.19"
    assert gallery.prompts[:2] == ["Fox number 777", "Fox number 1777"]
    gallery.press(Keys.BACKSPACE * 11)
    gallery.all(".card")[0].send_keys(Keys.END)
    assert "job-9999" in gallery.driver.switch_to.active_element.accessible_name


def test_files_that_changed_or_are_gone_are_marked(gallery: Gallery, tmp_path: Path) -> None:
    store(tmp_path, [Made(id=color, data=(picture(color),)) for color in ("red", "green", "blue")])
    paths = sorted(tmp_path.glob("*.png"))
    paths[0].unlink()
    paths[1].write_bytes(picture("pink", size=(33, 33)))
    page = write_gallery(tmp_path, thumbnails=False)
    paths[2].unlink()  # after the page was written

    gallery.driver.get(page.as_uri())

    gallery.wait("document.querySelectorAll('.why').length === 2")
    assert [each.text for each in gallery.all(".badge")] == ["∅ missing", "≠ changed"]
    assert [each.text.splitlines()[0] for each in gallery.all(".why")] == ["File missing", "File missing"]
    gallery.wait("document.querySelector('#grid img').naturalWidth === 33")


@pytest.mark.parametrize("width", [1200, 380])
def test_it_follows_the_theme_and_fits_the_window(gallery: Gallery, zoo: Path, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    lightness = {}
    for theme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        gallery.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        gallery.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        color = gallery.run("return getComputedStyle(document.body).backgroundColor")
        gallery.wait(f"innerWidth === {width} && document.documentElement.scrollWidth <= innerWidth")
        lightness[theme] = int(color.removeprefix("rgb(").partition(",")[0])
    gallery.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"width": 1200, "height": 900})

    assert lightness["dark"] < 60 < 200 < lightness["light"]
