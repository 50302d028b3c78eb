"""The page in a real browser: every control, a phone, a page without WebGPU."""

import json
import time

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.play.pages import complaints, find, set_slider, steps, visit, wait

PICTURE = (
    "const pen = document.getElementById('picture').getContext('2d');"
    "return [...pen.getImageData(0, 0, 64, 64).data]"
)


def fill(browser, name, text):
    field = find(browser, name)
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text, Keys.TAB)


@pytest.fixture
def paused(browser, address):
    """The page with TakeCover's dream, at rest."""
    visit(browser, address, "task=takecover&seed=3&tau=1")
    find(browser, "play").click()
    wait(browser, lambda: find(browser, "play").text == "Play")
    return browser


def test_it_dreams_at_once_and_says_what_runs_it(browser, address):
    visit(browser, address)
    wait(browser, lambda: steps(browser) > 5)
    assert find(browser, "driver").text == "The agent drives"
    assert find(browser, "backend").text == "WASM, one thread"
    assert len(set(browser.execute_script(PICTURE))) > 2
    assert complaints(browser) == []


def test_it_can_be_stopped_taken_step_by_step_and_begun_anew(paused):
    before = steps(paused)
    find(paused, "step").click()
    wait(paused, lambda: steps(paused) == before + 1)
    find(paused, "reset").click()
    wait(paused, lambda: steps(paused) == 0)
    first = paused.execute_script(PICTURE)
    find(paused, "reseed").click()
    wait(paused, lambda: paused.execute_script(PICTURE) != first)
    fill(paused, "seed", "3")
    wait(paused, lambda: paused.execute_script(PICTURE) == first)
    find(paused, "play").click()
    wait(paused, lambda: steps(paused) > 3)


def test_it_is_no_faster_after_it_was_stopped(browser, address):
    """Ten steps a second stay ten, however often Play and Pause are pressed."""
    visit(browser, address, "task=takecover")
    set_slider(browser, "speed", 10)
    browser.execute_script("for (let i = 0; i < 6; i++) document.getElementById('play').click()")
    begun, before = time.perf_counter(), steps(browser)
    time.sleep(2)
    assert steps(browser) - before <= 10 * (time.perf_counter() - begun) + 3


def test_keys_take_the_wheel_and_show_it(paused):
    find(paused, "reset").click()
    ActionChains(paused).key_down(Keys.ARROW_LEFT).perform()
    wait(paused, lambda: find(paused, "driver").text == "You drive")
    find(paused, "step").click()
    gauge = "#gauges .number"
    wait(paused, lambda: find(paused, gauge, By.CSS_SELECTOR).text == "-1.00")
    ActionChains(paused).key_up(Keys.ARROW_LEFT).perform()
    find(paused, "step").click()
    wait(paused, lambda: find(paused, gauge, By.CSS_SELECTOR).text == "0.00")
    wait(paused, lambda: "who=you" in paused.current_url)
    find(paused, "agent-drives").click()
    assert find(paused, "driver").text == "The agent drives"


def test_the_page_is_played_by_keys_alone(paused):
    body = find(paused, "body", By.TAG_NAME)
    before = steps(paused)
    body.send_keys(".")
    wait(paused, lambda: steps(paused) == before + 1)
    body.send_keys(" ")
    wait(paused, lambda: steps(paused) > before + 5)
    body.send_keys(" ")
    wait(paused, lambda: find(paused, "play").text == "Play")
    body.send_keys("r")
    wait(paused, lambda: steps(paused) == 0)
    seed = find(paused, "seed").get_attribute("value")
    body.send_keys("n")
    wait(paused, lambda: find(paused, "seed").get_attribute("value") != seed)
    find(paused, "tab-dream").send_keys(Keys.ARROW_RIGHT)
    wait(paused, lambda: find(paused, "cheating").is_displayed())


def test_what_a_screen_reader_tells_is_there(browser, address):
    visit(browser, address)
    nameless = browser.execute_script("""
      const named = (one) => one.textContent.trim() || one.getAttribute("aria-label")
        || one.labels?.length || one.title;
      const those = "button, input, select, canvas[role=img], [role=tabpanel]";
      const nameless = [...document.querySelectorAll(those)].filter((one) => !named(one));
      return nameless.map((one) => one.outerHTML);
    """)
    assert nameless == []


def test_every_number_of_z_has_a_slider_that_moves_the_picture(paused):
    find(paused, "reset").click()
    wait(paused, lambda: steps(paused) == 0)
    rows = paused.find_elements(By.CSS_SELECTOR, "#z .slider")
    assert len(rows) == 4
    before = paused.execute_script(PICTURE)
    set_slider(paused, "z-2", 4.5)
    wait(paused, lambda: paused.execute_script(PICTURE) != before)
    moved = paused.execute_script(PICTURE)
    find(paused, "#z-2 ~ input[type=checkbox]", By.CSS_SELECTOR).click()
    wait(paused, lambda: "z=2%3A4.5" in paused.current_url)
    find(paused, "step").click()
    wait(paused, lambda: steps(paused) == 1)
    shown = paused.execute_script("return document.getElementById('z-2').value")
    assert float(shown) == pytest.approx(4.5)
    link = paused.current_url
    find(paused, "unpin").click()
    wait(paused, lambda: "z=" not in paused.current_url)
    visit(paused, *link.split("#"))
    find(paused, "play").click()
    find(paused, "reset").click()
    wait(paused, lambda: steps(paused) == 0)
    wait(paused, lambda: paused.execute_script(PICTURE) == moved)


def test_what_each_number_does_is_shown_on_demand(paused):
    find(paused, "previews").click()
    wait(paused, lambda: len(paused.find_elements(By.CSS_SELECTOR, ".previews canvas")) == 8)
    find(paused, "previews").click()
    wait(paused, lambda: not find(paused, ".previews", By.CSS_SELECTOR).is_displayed())


def test_a_dream_begins_at_any_stored_frame(paused):
    find(paused, "#starts-details summary", By.CSS_SELECTOR).click()
    wait(paused, lambda: paused.find_elements(By.CSS_SELECTOR, "#starts button"))
    (button, *_) = paused.find_elements(By.CSS_SELECTOR, "#starts button")
    index = button.get_attribute("aria-label").split()[-1]
    button.click()
    wait(paused, lambda: f"start={index}" in paused.current_url)
    assert find(paused, "start").get_attribute("value") == index
    find(paused, "more-starts").click()
    wait(paused, lambda: find(paused, "#starts button", By.CSS_SELECTOR) != button)


def test_temperature_and_speed_are_moved_while_it_plays(browser, address):
    visit(browser, address, "task=pendulum")
    set_slider(browser, "temperature", 0)
    wait(browser, lambda: find(browser, "temperature-value").text == "0.05")
    set_slider(browser, "temperature", 1)
    wait(browser, lambda: find(browser, "temperature-value").text == "3.00")
    wait(browser, lambda: "tau=3" in browser.current_url)
    set_slider(browser, "speed", 60)
    assert find(browser, "speed-value").text == "60"
    before = steps(browser)
    wait(browser, lambda: steps(browser) != before)


def test_mixture_end_and_scores_are_drawn(browser, address):
    visit(browser, address, "task=pendulum&seed=1")
    set_slider(browser, "speed", 60)
    drawn = "const c = document.getElementById(arguments[0]);"
    drawn += "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean)"
    wait(browser, lambda: browser.execute_script(drawn, "mixture"))
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#history tr"))
    cells = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#history td")][:4]
    assert cells[0] == "agent"
    assert cells[2] == "200"
    assert browser.execute_script(drawn, "history-chart")
    assert find(browser, "chance-value").text.endswith("%")


def test_a_link_holds_the_dream(browser, address):
    visit(browser, address, "task=carracing&tau=0.7&seed=11&start=2&who=you&z=1%3A2.25")
    assert find(browser, "task").get_attribute("value") == "carracing"
    assert find(browser, "temperature-value").text == "0.70"
    assert find(browser, "start").get_attribute("value") == "2"
    assert find(browser, "driver").text == "You drive"
    labels = [
        row.text for row in browser.find_elements(By.CSS_SELECTOR, "#gauges .gauge > :first-child")
    ]
    assert labels == ["steering", "gas", "brake"]


def test_the_link_is_copied(paused):
    paused.execute_script("navigator.clipboard.writeText = async (text) => (window.copied = text)")
    find(paused, "link").click()
    wait(paused, lambda: find(paused, "link").text == "Copied")
    link = paused.execute_script("return window.copied")
    assert link.split("#")[0] == paused.current_url.split("#")[0]
    assert {"task=takecover", "tau=1", "seed=3"} <= set(link.split("#")[1].split("&"))


def test_another_c_of_the_agent_is_chosen(paused):
    Select(find(paused, "controller")).select_by_visible_text("tau-1.15")
    wait(paused, lambda: "agent=tau-1.15" in paused.current_url)
    before = steps(paused)
    find(paused, "step").click()
    wait(paused, lambda: steps(paused) == before + 1)


def test_the_mixture_of_another_number_is_drawn(paused):
    drawn = "return document.getElementById('mixture').toDataURL()"
    find(paused, "step").click()
    wait(paused, lambda: steps(paused) > 0)
    before = paused.execute_script(drawn)
    Select(find(paused, "number")).select_by_index(3)
    wait(paused, lambda: paused.execute_script(drawn) != before)


def test_another_link_may_be_opened_in_the_same_page(browser, address):
    visit(browser, address, "task=carracing&seed=1")
    browser.get(f"{address}#task=pendulum&seed=2")
    wait(browser, lambda: find(browser, "seed").get_attribute("value") == "2")
    assert find(browser, "task").get_attribute("value") == "pendulum"


@pytest.mark.parametrize(
    "state",
    [
        "task=pong&seed=-1&tau=NaN&start=1e9&z=9999:3,x:1,1:y&tab=nothing&who=nobody",
        "seed=99999999999999999999&tau=1e-9&start=0.5&z=::::",
        "%E0%A4%A",
    ],
)
def test_a_link_that_makes_no_sense_is_a_dream_all_the_same(browser, address, state):
    visit(browser, address, state)
    wait(browser, lambda: steps(browser) > 1)
    assert find(browser, "message").text == ""


def test_two_agents_cheat_side_by_side(browser, address):
    visit(browser, address, "task=takecover&tab=cheating")
    find(browser, "cheat-play").click()
    names = browser.find_elements(By.CSS_SELECTOR, "#pair figcaption span:first-child")
    assert [one.text for one in names] == ["tau-0.1", "tau-1.15"]
    figures = "#pair figcaption span:last-child"
    wait(
        browser,
        lambda: all(
            one.text.split() and int(one.text.split()[0]) > 3
            for one in browser.find_elements(By.CSS_SELECTOR, figures)
        ),
    )
    set_slider(browser, "cheat-temperature", 0)
    assert find(browser, "cheat-temperature-value").text == "0.05"
    find(browser, "cheat-play").click()
    assert find(browser, "cheat-play").text == "Play"


def test_where_there_is_one_c_nobody_cheats(browser, address):
    visit(browser, address, "task=pendulum")
    assert not find(browser, "tab-cheating").is_displayed()


def test_without_a_server_no_game_is_offered(browser, address):
    visit(browser, address)
    assert not find(browser, "tab-game").is_displayed()


def test_a_phone_has_all_of_it_in_its_width(open_browser, address):
    phone = open_browser(390, 844)
    phone.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    phone.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    visit(phone, address, "task=takecover")
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 390
    left, right = phone.find_elements(By.CSS_SELECTOR, "#pads button")
    assert left.is_displayed()
    assert right.is_displayed()
    touch(phone, right)
    wait(phone, lambda: find(phone, "driver").text == "You drive")
    wait(phone, lambda: find(phone, "#gauges .number", By.CSS_SELECTOR).text == "1.00")
    touch(phone, None)
    wait(phone, lambda: find(phone, "#gauges .number", By.CSS_SELECTOR).text == "0.00")


def touch(phone, element):
    """Lays a finger on an element, or takes it away."""
    points = []
    if element is not None:
        phone.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
        place = phone.execute_script(
            "return arguments[0].getBoundingClientRect().toJSON()", element
        )
        points = [
            {
                axis: place[axis] + place[side] / 2
                for axis, side in (("x", "width"), ("y", "height"))
            }
        ]
    kind = "touchStart" if points else "touchEnd"
    phone.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_visitor_likes(browser, address, scheme):
    liked = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": liked})
    visit(browser, address)
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(json.loads(back.replace("rgb(", "[").replace(")", "]")))
    assert (brightness > 380) == (scheme == "light")
