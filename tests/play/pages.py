"""What tests do with the page."""

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

WAIT_S = 60


def visit(browser, address: str, state: str = "") -> None:
    """Opens the page anew, in the state that a link holds, and waits until it plays."""
    browser.get("about:blank")
    browser.get(f"{address}#{state}")
    wait(browser, lambda: find(browser, "body", By.TAG_NAME).get_attribute("data-ready"))


def wait(browser, true) -> None:
    """Waits until something is true of the page; what it says goes with the failure."""
    try:
        WebDriverWait(browser, WAIT_S, 0.05).until(lambda _: true())
    except Exception as error:
        said = browser.find_element(By.ID, "message").text
        raise AssertionError(f"not so in {WAIT_S} s; the page says {said!r}") from error


def find(browser, name: str, by: str = By.ID):
    """An element, by its id."""
    return browser.find_element(by, name)


def steps(browser) -> int:
    """How far the dream is."""
    return int(find(browser, "figures").text.split()[1].strip(","))


def complaints(browser) -> list[str]:
    """What the browser holds for an error."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def set_slider(browser, name: str, value: float) -> None:
    """Moves a slider, as a hand does."""
    script = "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
    script += "one.dispatchEvent(new Event('input', { bubbles: true }))"
    browser.execute_script(script, name, value)
