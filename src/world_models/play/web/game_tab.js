// The game, V's picture of it and the dream side by side: played by a server, where there is one.

import { Controls } from "./controls.js";
import { SIZE } from "./dream.js";
import { placeOf, temperatureAt } from "./state.js";

const $ = (id) => document.getElementById(id);
const PLANE = SIZE * SIZE * 3;
const PICTURES = ["game-real", "game-seen", "game-dream"];

// The agents that a server has; none where the page is only files.
export async function servedAgents() {
  try {
    const found = await fetch("api/agents");
    return found.ok ? await found.json() : [];
  } catch {
    return [];
  }
}

export class GameTab {
  constructor(agents, failed) {
    this.failed = failed;
    this.you = false;
    this.controls = new Controls($("game-pads"), () => !$("game").hidden, () => this.drive(true));
    $("game-play").addEventListener("click", () => this.toggle());
    $("game-you").addEventListener("click", () => this.drive(!this.you));
    $("game-agent").addEventListener("change", () => {
      this.heated = false;
      this.restart();
    });
    $("game-temperature").addEventListener("input", () => {
      this.heated = true; // by hand, so the agent's own counts no more
      this.heat();
    });
    $("game-agent").replaceChildren(...agents.map((name) => new Option(name, name)));
    $("game-temperature").value = placeOf(1);
    this.heat();
  }

  // Leaves the game that is open; Play begins another.
  restart() {
    this.toggle(false);
    this.socket?.close();
    this.socket = null;
  }

  heat() {
    this.temperature = temperatureAt(Number($("game-temperature").value));
    $("game-temperature-value").textContent = this.temperature.toFixed(2);
  }

  drive(you) {
    this.you = you;
    $("game-you").setAttribute("aria-pressed", you);
  }

  toggle(playing = !this.playing) {
    this.playing = playing;
    $("game-play").textContent = playing ? "Pause" : "Play";
    if (playing && !this.socket) this.connect();
    else if (playing) this.ask();
  }

  connect() {
    const address = new URL("api/play", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    const mine = (does) => (event) => this.socket === socket && does(event);
    this.socket = socket;
    $("message").textContent = "";
    socket.binaryType = "arraybuffer";
    socket.onopen = mine(() => this.begin());
    socket.onmessage = mine(({ data }) => (typeof data === "string" ? this.told(JSON.parse(data)) : this.show(data)));
    socket.onclose = mine(({ reason }) => this.lost(reason));
  }

  begin() {
    const seed = Math.floor(Math.random() * 2 ** 31);
    this.asked = true;
    this.send({ type: "begin", agent: $("game-agent").value, seed });
  }

  lost(reason) {
    const playing = this.playing;
    this.socket = null;
    this.toggle(false);
    if (playing) this.failed(new Error(reason || "the server is gone; press Play to try again"));
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Asks for the next step, once; the answer to it is figures, then pictures.
  ask() {
    if (this.asked || !this.playing) return;
    this.asked = true;
    const action = this.you ? this.controls.action() : null;
    this.send({ type: "step", action, temperature: this.temperature });
  }

  told(figures) {
    if (figures.controls) return this.introduced(figures);
    const of = ({ steps, total, finished }) => `${steps} steps, return ${total.toFixed(1)}${finished ? ", the end" : ""}`;
    $("game-real-figures").textContent = of(figures.real);
    $("game-dream-figures").textContent = of(figures.dream);
    this.over = figures.real.finished && figures.dream.finished;
  }

  // What there is to know of an agent before its first step.
  introduced({ controls, temperature }) {
    this.controls.use(controls);
    if (this.heated) return;
    $("game-temperature").value = placeOf(Math.min(3, Math.max(0.05, temperature)));
    this.heat();
  }

  show(data) {
    this.asked = false;
    const bytes = new Uint8Array(data);
    PICTURES.forEach((id, number) => {
      const pixels = new ImageData(SIZE, SIZE);
      const from = bytes.subarray(number * PLANE, (number + 1) * PLANE);
      for (let at = 0; at < SIZE * SIZE; at++) {
        pixels.data.set(from.subarray(3 * at, 3 * at + 3), 4 * at);
        pixels.data[4 * at + 3] = 255;
      }
      $(id).getContext("2d").putImageData(pixels, 0, 0);
    });
    if (this.over) this.restart();
    else if (this.playing) setTimeout(() => this.ask(), 1000 / 40);
  }
}
