"""The playground's server: the page, and games to hold beside the dream."""

import asyncio
import logging
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from uvicorn import Config, Server

from world_models.agent import Agent
from world_models.play.session import Session
from world_models.play.site import of_hand
from world_models.runtime.errors import ExtraError, WorldModelsError

VISITORS = 8
"""Games that are open at a time, at most."""
IDLE_S = 60.0
"""A visitor who sends nothing for so long has left."""
LONGEST = 4096
"""Bytes of a message, at most."""
AGENTS_KEPT = 4
"""Agents that stay in memory while nobody plays them, at most."""
LONGEST_REASON = 100
"""Bytes of the reason that a connection is closed for; WebSockets allow 123."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names that this machine has for itself."""
REFUSED, FAILED, FULL = 1008, 1011, 1013
"""Why a connection is closed, as WebSockets number it."""

log = logging.getLogger(__name__)


class Message(BaseModel):
    """What a visitor sends."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Begin(Message):
    """A new game."""

    type: Literal["begin"]
    agent: Annotated[str, Field(max_length=200)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]


class Step(Message):
    """A step of both worlds."""

    type: Literal["step"]
    action: Annotated[list[Annotated[float, Field(ge=-1, le=1)]], Field(max_length=64)] | None
    """None leaves it to the agent."""
    temperature: Annotated[float, Field(gt=0, le=10)]


MESSAGE: TypeAdapter[Begin | Step] = TypeAdapter(
    Annotated[Begin | Step, Field(discriminator="type")]
)


class RefusedError(Exception):
    """A message that makes no sense here; what it says is told to the visitor."""


class Playground:
    """Who plays, and with which agents."""

    def __init__(self, sources: Mapping[str, str | Path]) -> None:
        """`sources` say where each agent is, by the name that visitors choose it by."""
        self.sources = sources
        self.visitors = 0
        self.load = lru_cache(AGENTS_KEPT)(self._load)

    def _load(self, name: str) -> Agent:
        return Agent.from_pretrained(self.sources[name])

    async def play(self, socket: WebSocket) -> None:
        """Plays with one visitor, until one of the two has enough."""
        await socket.accept()
        if self.visitors >= VISITORS:
            await closed(socket, FULL, "all seats are taken: try again later")
            return
        self.visitors += 1
        try:
            await self._serve(socket)
        except RefusedError as error:
            # What a visitor sends may be anything: neither lines nor colours get into the log.
            said = ascii(str(error))[1:-1]
            log.warning("refused: %s", said)
            await closed(socket, REFUSED, said)
        except WorldModelsError as error:
            log.warning("a game ended: %s", error)
            await closed(socket, FAILED, "the game ended by a fault: press Play for another")
        except TimeoutError:
            await closed(socket, REFUSED, "nothing was sent for too long")
        except WebSocketDisconnect:
            pass
        finally:
            self.visitors -= 1

    async def _serve(self, socket: WebSocket) -> None:
        session: Session | None = None
        try:
            while True:
                message = await received(socket)
                if isinstance(message, Begin):
                    if session is not None:
                        await asyncio.to_thread(session.close)
                        session = None
                    session = await asyncio.to_thread(self._begun, message)
                    await socket.send_json(introduced(session.agent))
                elif session is None:
                    raise RefusedError("a step before a game has begun")
                else:
                    await asyncio.to_thread(taken, session, message)
                await socket.send_json(session.figures())
                await socket.send_bytes(await asyncio.to_thread(session.pictures))
        finally:
            if session is not None:
                await asyncio.to_thread(session.close)

    def _begun(self, message: Begin) -> Session:
        if message.agent not in self.sources:
            raise RefusedError("no such agent")
        try:
            return Session(self.load(message.agent), message.seed)
        except WorldModelsError as error:
            log.warning("%s: %s", message.agent, error)  # where files are is no visitor's business
            raise RefusedError(f"{message.agent}: can't be read") from None


async def closed(socket: WebSocket, code: int, reason: str) -> None:
    """Closes a connection and says why, if somebody is still there."""
    with suppress(WebSocketDisconnect):
        await socket.close(code, reason[:LONGEST_REASON])


def introduced(agent: Agent) -> dict[str, Any]:
    """Returns what a visitor has to know of an agent before a first step."""
    temperature = agent.controller.sizes.temperature
    return {"temperature": temperature, "controls": of_hand(agent.task)}


async def received(socket: WebSocket) -> Begin | Step:
    """Waits for a visitor's message; raises RefusedError for one that is none, TimeoutError where
    there is none for too long."""
    async with asyncio.timeout(IDLE_S):
        frame = await socket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    try:
        return MESSAGE.validate_json(frame.get("text") or b"")
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise RefusedError(f"message: {place}: {problem['msg']}") from None


def taken(session: Session, message: Step) -> None:
    """Takes a step; raises RefusedError for an action of another length than the game's."""
    size = session.agent.task.action_size
    if message.action is not None and len(message.action) != size:
        raise RefusedError(f"message: an action of {len(message.action)}; the game's are of {size}")
    session.step(message.action, message.temperature)


def from_here(socket: WebSocket) -> bool:
    """Returns whether a connection comes from the page itself: a browser tells where from, and no
    other site may play through its visitors."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


def create_app(
    page: Path, sources: Mapping[str, str | Path], hosts: Sequence[str] = LOOPBACK
) -> FastAPI:
    """Returns the application: the page's files, the agents that there are, and play.

    `hosts` are the names that it may be asked for by: a page of another site that has its name
    resolved to this machine is refused.
    """
    playground = Playground(sources)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.get("/api/agents")
    def agents() -> list[str]:
        return list(sources)

    @app.websocket("/api/play")
    async def play(socket: WebSocket) -> None:
        if not from_here(socket):
            log.warning("refused: a connection from %a", socket.headers.get("origin"))
            await socket.close(REFUSED)
            return
        await playground.play(socket)

    app.mount("/", StaticFiles(directory=page, html=True))
    return app


def configured(page: Path, sources: Mapping[str, str | Path], host: str, port: int) -> Config:
    """Returns the server's settings, with all its limits; raises ExtraError where the library is
    missing that takes WebSockets."""
    if find_spec("websockets") is None:
        raise ExtraError("the playground", "play")
    return Config(
        create_app(page, sources, names(host)),
        host=host,
        port=port,
        log_level="warning",
        ws_max_size=LONGEST,
    )


def names(host: str) -> list[str]:
    """Returns what a server may be asked for by that listens on a host: any name where that stands
    for all addresses of this machine, since it can't know what others call them."""
    with suppress(ValueError):
        if ip_address(host).is_unspecified:
            return ["*"]
    return [*LOOPBACK, bracketed(host)]


def bracketed(host: str) -> str:
    """Returns a host as addresses of pages have it."""
    return f"[{host}]" if ":" in host else host


def serve(
    page: Path, sources: Mapping[str, str | Path], host: str, port: int, open_browser: bool
) -> None:
    """Serves the page until Ctrl-C, and opens it in the browser once it is there.

    Raises WorldModelsError where the address can't be listened on, ExtraError as `configured` does.
    """
    server = Server(configured(page, sources, host, port))
    try:
        listening = server.config.bind_socket()
        listening.listen()  # who calls before the server has begun waits for it
    except SystemExit:  # uvicorn has said why
        raise WorldModelsError(
            f"{host}:{port}: can't be listened on; --port names another"
        ) from None
    address = f"http://{bracketed(host)}:{listening.getsockname()[1]}/"
    print(f"{address} (Ctrl-C ends it)", flush=True)
    if open_browser:
        Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server.run(sockets=[listening])
