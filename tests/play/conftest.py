"""A real browser, before a page that is built for the test and served as plain files."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tests.agents import a_controller, write_agent
from world_models.controller.checkpoint import save_controllers
from world_models.layout import AgentFiles
from world_models.play import site
from world_models.pretrained import packaged

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)
GPU_FLAGS = (
    *("headless=new", "no-sandbox", "disable-quic", "no-first-run"),
    *("enable-unsafe-webgpu", "use-webgpu-adapter=swiftshader"),
)
TASKS = ("carracing", "takecover", "pendulum")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a browser, or what npm fetches, is left out in one line where there is none."""
    missing = [
        what
        for what, there in {
            "Chromium and its driver": Path(CHROMIUM).exists() and Path(DRIVER).exists(),
            "the page's runtime (npm ci in src/world_models/play/web)": site.RUNTIME.exists(),
        }.items()
        if not there
    ]
    for item in items:
        if missing and {"browser", "page"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(missing)}"))


@pytest.fixture(scope="session")
def agents(tmp_path_factory) -> dict[str, AgentFiles]:
    """An agent of each task that has learned nothing."""
    folder = tmp_path_factory.mktemp("models")
    found = {task: write_agent(folder / task, task) for task in TASKS}
    for number, name in enumerate(("tau-0.1", "tau-1.15")):  # two more C's, bred for the page
        torch.manual_seed(10 + number)
        bred = folder / "takecover" / "controllers" / f"{name}.safetensors"
        save_controllers(bred, a_controller(4 + 8, "takecover"))
    return found


@pytest.fixture(scope="session")
def large() -> AgentFiles:
    """One as large as the paper's, which has learned: that of the package, in half precision."""
    return packaged("takecover").agent


@pytest.fixture(scope="session")
def page(agents, large, tmp_path_factory) -> Path:
    """The folder of a page with these agents."""
    out = tmp_path_factory.mktemp("site") / "page"
    site.build(out, agents | {"large": large})
    return out


@pytest.fixture(scope="session")
def address(page):
    """Where the page is served, as GitHub Pages would: files, in a folder, without more headers."""
    handler = partial(QuietHandler, directory=str(page.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{page.name}/"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def open_browser():
    """Give a function that opens a Chromium of some size.

    All are closed with the module: a page that dreams on would take its part of the cores.
    """
    from selenium import webdriver

    opened = []

    def open_one(width: int = 1280, height: int = 1000, flags: tuple[str, ...] = FLAGS):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in flags:
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(DRIVER, env=os.environ | {"SE_OFFLINE": "true"})
        browser = webdriver.Chrome(options=options, service=service)
        browser.set_window_size(width, height)
        browser.set_script_timeout(300)
        opened.append(browser)
        return browser

    yield open_one
    for browser in opened:
        browser.quit()


@pytest.fixture(scope="module")
def browser(open_browser):
    """One that tests share, one page after the other."""
    assert shutil.which(CHROMIUM)
    return open_browser()
