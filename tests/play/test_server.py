"""The playground's server: games beside dreams, for several visitors, some of them hostile."""

import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import uvicorn
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.play.pages import find, set_slider, visit, wait
from world_models.agent import Agent
from world_models.play import server
from world_models.play.session import Session
from world_models.runtime.errors import WorldModelsError

BEGIN = {"type": "begin", "agent": "pendulum", "seed": 4}
STEP = {"type": "step", "action": None, "temperature": 1.0}


@contextmanager
def serving(page, sources, host="127.0.0.1"):
    """The server, with all its limits and for any host, on a port of loopback: that port."""
    config = server.configured(page, sources, host, 0)
    config.host = "127.0.0.1"
    running = uvicorn.Server(config)
    listening = running.config.bind_socket()
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield listening.getsockname()[1]
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def sources(agents):
    return {task: agents[task].vae.parent for task in ("pendulum", "carracing")}


@pytest.fixture(scope="module")
def port(sources, tmp_path_factory):
    """The server with a page that is only a stub: what it serves is tested elsewhere."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "index.html").write_text("<!doctype html><title>stub</title>")
    with serving(folder, sources) as port:
        yield port


def visitor(port, **more):
    return connect(f"ws://127.0.0.1:{port}/api/play", **more)


def said(connection, message):
    """Figures and pictures (3, 64, 64, 3) in answer to a message; to the first, an introduction
    comes before."""
    connection.send(json.dumps(message))
    if message["type"] == "begin":
        assert {"temperature", "controls"} == json.loads(connection.recv(10)).keys()
    figures, pictures = json.loads(connection.recv(10)), connection.recv(10)
    return figures, np.frombuffer(pictures, np.uint8).reshape(3, 64, 64, 3)


def test_it_plays_as_the_agent_itself_does(port, sources):
    session = Session(Agent.from_pretrained(sources["pendulum"]), BEGIN["seed"])
    with visitor(port) as connection:
        figures, pictures = said(connection, BEGIN)
        assert figures["real"] == {"steps": 0, "total": 0.0, "finished": False}
        assert pictures.tobytes() == session.pictures()
        for _ in range(5):
            figures, pictures = said(connection, STEP)
            session.step(None, 1.0)
        assert figures == session.figures()
        assert pictures.tobytes() == session.pictures()
        assert figures["real"]["steps"] == figures["dream"]["steps"] == 5
    session.close()


def test_a_visitor_drives(port):
    with visitor(port) as one, visitor(port) as other:
        for connection in (one, other):
            said(connection, BEGIN)
        for _ in range(10):
            left, _ = said(one, STEP | {"action": [-1.0]})
            right, _ = said(other, STEP | {"action": [1.0]})
    assert left["real"]["total"] != right["real"]["total"]


def test_visitors_do_not_disturb_each_other(port):
    def play(connection):
        said(connection, BEGIN)
        return [said(connection, STEP)[0] for _ in range(5)]

    with visitor(port) as one:
        alone = play(one)
        with visitor(port) as other:
            threads = [threading.Thread(target=play, args=(one,))]
            threads[0].start()
            beside = play(other)
            threads[0].join()
    assert alone == beside


def test_another_game_may_follow(port):
    with visitor(port) as connection:
        said(connection, BEGIN)
        said(connection, STEP)
        figures, _ = said(connection, BEGIN | {"agent": "carracing"})
        assert figures["real"]["steps"] == 0
        figures, _ = said(connection, STEP | {"action": [0.0, 1.0, 0.0]})
        assert figures["real"]["steps"] == 1


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no json",
        "[]",
        b"\x00\xff",
        "{" * 1000,
        json.dumps({"type": "shutdown"}),
        json.dumps(BEGIN | {"agent": "../../etc/passwd"}),
        json.dumps(BEGIN | {"agent": "x" * 1000}),
        json.dumps(BEGIN | {"seed": -1}),
        json.dumps(BEGIN | {"seed": "4"}),
        json.dumps(BEGIN | {"more": 1}),
        json.dumps(BEGIN | {"\u00e9" * 400: 1}),
        json.dumps(BEGIN | {"\n\x1b[31mforged": 1}),
        json.dumps(STEP),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(port, message, caplog):
    with caplog.at_level(logging.WARNING), visitor(port) as connection:
        connection.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(10)
    assert caught.value.rcvd.code == server.REFUSED
    assert caught.value.rcvd.reason
    assert "refused: " in caplog.text
    assert "\x1b" not in caplog.text
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    "change",
    [
        {"action": [1.0, 0.0]},
        {"action": []},
        {"action": [2.0]},
        {"action": [float("nan")]},
        {"action": ["1"]},
        {"temperature": 0},
        {"temperature": 1e9},
        {"temperature": float("inf")},
    ],
)
def test_a_step_out_of_range_is_refused(port, change):
    with visitor(port) as connection:
        said(connection, BEGIN)
        connection.send(json.dumps(STEP | change))
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(10)
        assert caught.value.rcvd.code == server.REFUSED


def test_a_message_that_is_too_long_ends_the_visit(port):
    with visitor(port) as connection:
        connection.send("x" * (server.LONGEST + 1))
        with pytest.raises(ConnectionClosed):
            connection.recv(10)


def test_no_other_site_plays_through_its_visitors(port):
    with pytest.raises(InvalidStatus), visitor(port, origin="http://evil.example"):
        pass
    with visitor(port, origin=f"http://127.0.0.1:{port}") as connection:
        assert said(connection, BEGIN)


def test_there_are_so_many_seats(port, monkeypatch):
    monkeypatch.setattr(server, "VISITORS", 1)
    with visitor(port) as first:
        said(first, BEGIN)
        with visitor(port) as second, pytest.raises(ConnectionClosed) as caught:
            second.recv(10)
        assert caught.value.rcvd.code == server.FULL
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # the seat is free again once the game is closed
        try:
            with visitor(port) as third:
                said(third, BEGIN)
                return
        except ConnectionClosed:
            time.sleep(0.05)
    pytest.fail("no seat was freed")


def test_who_sends_nothing_has_left(port, monkeypatch):
    monkeypatch.setattr(server, "IDLE_S", 0.2)
    with visitor(port) as connection, pytest.raises(ConnectionClosed) as caught:
        connection.recv(10)
    assert caught.value.rcvd.reason == "nothing was sent for too long"


def test_an_agent_that_can_not_be_read_is_named(sources, tmp_path, caplog):
    with serving(tmp_path, sources | {"broken": tmp_path / "broken"}) as other:
        assert names_at(other) == ["pendulum", "carracing", "broken"]
        with visitor(other) as connection:
            connection.send(json.dumps(BEGIN | {"agent": "broken"}))
            with pytest.raises(ConnectionClosed) as caught:
                connection.recv(10)
        assert caught.value.rcvd.reason == "broken: can't be read"
    assert "broken/controller.safetensors: missing" in caplog.text


def names_at(port, host="127.0.0.1"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/agents", headers={"Host": host})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_name_that_another_site_has_resolved_to_this_machine_is_refused(port):
    assert names_at(port, "localhost") == ["pendulum", "carracing"]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        names_at(port, "evil.example")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "fe80::1"])
def test_it_answers_to_the_names_of_the_address_that_it_listens_on(sources, tmp_path, host):
    """To any where that is all addresses: this machine can't know what others call them."""
    with serving(tmp_path, sources, host) as port:
        name = "[fe80::1]" if host == "fe80::1" else "10.0.0.7"
        assert names_at(port, f"{name}:{port}") == ["pendulum", "carracing"]


def test_a_fault_in_a_game_ends_it_and_its_visitor_is_told(port, monkeypatch, caplog):
    def broken(*_):
        raise WorldModelsError("the engine has died: /its/folder")

    with visitor(port) as connection:
        said(connection, BEGIN)
        monkeypatch.setattr(Session, "step", broken)
        connection.send(json.dumps(STEP))
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(10)
    assert caught.value.rcvd.code == server.FAILED
    assert "folder" not in caught.value.rcvd.reason
    assert "the engine has died: /its/folder" in caplog.text


def test_many_begin_at_once_and_where_the_server_is_stays_as_it_was(port, sources, monkeypatch):
    """A game opens in a folder of its own, and the working directory is the whole process's."""
    here = os.getcwd()

    def begin(number):
        with visitor(port) as connection:
            return said(connection, BEGIN | {"agent": "carracing", "seed": number})[1].tobytes()

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(begin, range(6)))
    assert together == [begin(number) for number in range(6)]
    assert os.getcwd() == here


def test_a_visitor_of_the_page_plays_the_game_beside_the_dream(browser, page, sources):
    with serving(page, sources) as port:
        visit(browser, f"http://127.0.0.1:{port}/", "tab=game")
        wait(browser, lambda: Select(find(browser, "game-agent")).options)
        find(browser, "game-play").click()
        wait(browser, lambda: int((find(browser, "game-real-figures").text or "0").split()[0]) > 5)
        drawn = "const pen = document.getElementById(arguments[0]).getContext('2d');"
        drawn += "return new Set(pen.getImageData(0, 0, 64, 64).data).size > 2"
        assert all(
            browser.execute_script(drawn, f"game-{what}") for what in ("real", "seen", "dream")
        )
        find(browser, "game-you").click()
        assert find(browser, "game-you").get_attribute("aria-pressed") == "true"
        set_slider(browser, "game-temperature", 0)
        find(browser, "game-play").click()
        Select(find(browser, "game-agent")).select_by_visible_text("carracing")
        find(browser, "game-play").click()
        pads = "#game-pads button"
        wait(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, pads)) == 4)
        own = Agent.from_pretrained(sources["carracing"]).controller.sizes.temperature
        assert find(browser, "game-temperature-value").text == f"{own:.2f}"
    wait(browser, lambda: "Something went wrong" in find(browser, "message").text)
    assert find(browser, "game-play").text == "Play"
