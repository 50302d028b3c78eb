"""Pictures of MLflow's own pages for docs/tutorial/: a real server, a real browser.

`python docs/screenshots.py` shows the newest runs of stage `register` in this project, or in the
`--project` that is named. It needs Debian's chromium and
chromium-driver.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import urlopen

from mlflow import MlflowClient
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PICTURES = Path(__file__).parent / "pictures"
COMPARED = 5
"""Runs side by side."""
WAIT_S = 60
SETTLED_S = 3
"""What a page takes to draw itself once it is there."""
TRAINING = {"workflowType": "machine_learning"}
"""What has MLflow show its pages for training models; a user's browser remembers the choice."""
AXES = ["real/mean", "dream/mean", "dream_to_real_gap"]
"""Of the parallel coordinates, after the parameters that differ."""


def main() -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(prog="python docs/screenshots.py", description=__doc__)
    parser.add_argument("--project", type=Path, default=Path(), help="folder of mlflow.db")
    parser.add_argument("--task", default="pendulum")
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    store = arguments.project.resolve() / "mlflow.db"
    if not store.exists():
        sys.exit(f"screenshots: {store}: missing; run the pipeline there, or name --project")
    found = pages(MlflowClient(f"sqlite:///{store}"), arguments.task)
    with served(f"sqlite:///{store}") as address, opened() as browser:
        for name, page in found.items():
            browser.get(f"{address}/#/{page}")
            close_assistant(browser)
            if name == "compare":
                choose_axes(browser, AXES)
            time.sleep(SETTLED_S)
            save(browser, arguments.pictures / f"mlflow-{name}.png")


def pages(client: MlflowClient, task: str) -> dict[str, str]:
    """Addresses of MLflow's pages: the runs, some of them compared, one of them, the agents."""
    experiment = client.get_experiment_by_name("world-models")
    query = f"tags.stage = 'register' and tags.task = '{task}'"
    ids = [experiment.experiment_id] if experiment else []
    runs = [run.info.run_id for run in client.search_runs(ids, query, max_results=COMPARED)]
    if not runs:
        sys.exit(f"screenshots: no run of register for {task} in this store")
    table = urlencode(TRAINING | {"searchFilter": query}, quote_via=quote)
    chosen = {"runs": json.dumps(runs), "experiments": json.dumps(ids)}  # read from the front
    compared = urlencode(chosen | TRAINING)
    return {
        "runs": f"experiments/{ids[0]}/runs?{table}",
        "compare": f"compare-runs?{compared}",
        "lineage": f"experiments/{ids[0]}/runs/{runs[0]}?{urlencode(TRAINING)}",
        "agents": f"models/world-models-{task}?{urlencode(TRAINING)}",
    }


@contextmanager
def served(uri: str) -> Iterator[str]:
    """MLflow's server on loopback, as long as the block: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *where],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    """Returns once the address answers."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"screenshots: {address} does not answer")
            time.sleep(0.5)


@contextmanager
def opened() -> Iterator[webdriver.Chrome]:
    """A browser without a window, as long as the block."""
    driver = shutil.which("chromedriver")
    if driver is None:  # named, since selenium would look for one on the net
        sys.exit("screenshots: no chromedriver; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    for option in ("headless=new", "no-sandbox", "disable-background-networking"):
        options.add_argument(f"--{option}")
    options.add_argument("--window-size=1200,900")
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    browser.implicitly_wait(WAIT_S)
    try:
        yield browser
    finally:
        browser.quit()


def close_assistant(browser: webdriver.Chrome) -> None:
    """Closes the panel that covers a quarter of a new browser's pages."""
    browser.implicitly_wait(SETTLED_S)
    panel = "button[data-component-id='mlflow.assistant.chat_panel.close']"
    for button in browser.find_elements(By.CSS_SELECTOR, panel):
        button.click()
    browser.implicitly_wait(WAIT_S)


def choose_axes(browser: webdriver.Chrome, metrics: list[str]) -> None:
    """Draws these metrics; of parameters MLflow draws those that differ."""
    at = "//*[text()='Metrics:']/following::input[@role='combobox'][1]"
    box = browser.find_element(By.XPATH, at)
    box.send_keys(Keys.BACKSPACE)  # takes away the first metric by name
    for metric in metrics:
        box.send_keys(metric, Keys.ENTER)
    box.send_keys(Keys.ESCAPE)


def save(browser: webdriver.Chrome, path: Path) -> None:
    """The window as a PNG of few colours: git keeps each version."""
    picture = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
