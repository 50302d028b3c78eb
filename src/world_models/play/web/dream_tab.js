// The dream: agent or person at the wheel, and all that there is to see and to move.

import { drawHistory, drawMixture, Gauges, show } from "./charts.js";
import { Controls } from "./controls.js";
import { act, Dream, SIZE } from "./dream.js";
import { Player } from "./player.js";
import { Sliders } from "./sliders.js";
import { placeOf, temperatureAt, writeState } from "./state.js";

const STARTS_SHOWN = 12;
const REST_MS = 900; // between an end and the next episode
const EPISODES = 200; // that are remembered
const $ = (id) => document.getElementById(id);
const anySeed = () => Math.floor(Math.random() * 2 ** 31);

export class DreamTab {
  // open(task): gives an agent; changed(): the state has changed; failed(error).
  constructor(tasks, state, { open, changed, failed }) {
    Object.assign(this, { state, open, changed, failed, episodes: [], resting: false });
    this.player = new Player(() => this.tick(), (error) => {
      $("play").textContent = "Play";
      failed(error);
    });
    this.controls = new Controls($("pads"), () => !$("dream").hidden, () => this.drive("you"));
    this.sliders = new Sliders(
      $("z"),
      (index, value) => this.move(index, value),
      () => this.told(),
    );
    $("task").replaceChildren(...tasks.map((name) => new Option(name, name)));
    this.listen();
  }

  listen() {
    const on = (id, event, does) => $(id).addEventListener(event, () => Promise.resolve(does()).catch(this.failed));
    on("task", "change", () => this.choose($("task").value));
    on("controller", "change", () => this.steer($("controller").value));
    on("temperature", "input", () => this.heat(temperatureAt(Number($("temperature").value))));
    on("speed", "input", () => this.hurry(Number($("speed").value)));
    on("seed", "change", () => this.begin({ seed: this.whole("seed") ?? anySeed() }));
    on("start", "change", () => this.begin({ start: this.whole("start") }));
    on("play", "click", () => (this.player.playing ? this.pause() : this.play()));
    on("step", "click", () => this.single());
    on("reset", "click", () => this.begin({}));
    on("reseed", "click", () => this.begin({ seed: anySeed(), start: null }));
    on("agent-drives", "click", () => this.drive("agent"));
    on("you-drive", "click", () => this.drive("you"));
    on("number", "change", () => this.showExpected());
    on("unpin", "click", () => this.sliders.release());
    on("previews", "change", () => this.preview());
    on("more-starts", "click", () => this.showStarts());
    on("starts-details", "toggle", () => $("starts-details").open && this.showStarts());
    on("link", "click", () => this.copyLink());
    addEventListener("keydown", (event) => this.shortcut(event));
  }

  whole(id) {
    const value = $(id).value.trim();
    return /^\d+$/.test(value) && Number(value) < 2 ** 31 ? Number(value) : null;
  }

  shortcut(event) {
    if (event.target.closest?.("input, select, button, [role=tab]") || $("dream").hidden) return;
    const does = { " ": "play", ".": "step", r: "reset", n: "reseed" }[event.key];
    if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    $(does).click();
  }

  // Opens a task's agent and begins its dream.
  async choose(task) {
    this.player.pause();
    await this.player.busy;
    this.agent = await this.open(task);
    const { state, agent } = this;
    if (state.task !== task) Object.assign(state, { temperature: null, controller: null, start: null, pinned: {} });
    state.task = $("task").value = task;
    this.controls.use(agent.controls);
    $("keys").textContent = this.controls.hint;
    this.gauges = new Gauges($("gauges"), agent.controls);
    this.sliders.use(agent, state.pinned);
    const names = agent.controllers.map(({ name }) => new Option(name || "the agent", name));
    $("controller").replaceChildren(...names);
    $("number").replaceChildren(...agent.order.map((index) => new Option(`z ${index}`, index)));
    $("start").max = agent.starts - 1;
    this.steer(state.controller ?? "");
    this.heat(state.temperature ?? this.controller.temperature);
    this.hurry(this.player.rate);
    this.drive(state.who, true);
    await this.begin({ seed: state.seed ?? anySeed() });
    if ($("starts-details").open) await this.showStarts();
    this.play();
  }

  steer(name) {
    const found = this.agent.controllers.find((one) => one.name === name);
    this.controller = found ?? this.agent.controllers[0];
    this.state.controller = $("controller").value = this.controller.name;
    this.told();
  }

  heat(temperature) {
    this.state.temperature = temperature;
    $("temperature").value = placeOf(temperature);
    $("temperature-value").textContent = temperature.toFixed(2);
    this.told();
  }

  hurry(rate) {
    this.player.rate = rate;
    $("speed-value").textContent = rate;
  }

  drive(who, anyway = false) {
    if (this.state.who === who && !anyway) return;
    this.state.who = who;
    const you = who === "you";
    $("driver").textContent = you ? "You drive" : "The agent drives";
    $("driver").classList.toggle("you", you);
    $("agent-drives").setAttribute("aria-pressed", !you);
    $("you-drive").setAttribute("aria-pressed", you);
    this.told();
  }

  // Begins an episode: with another seed or start, or once more.
  async begin(other) {
    await this.player.busy;
    Object.assign(this.state, other);
    const { state, agent } = this;
    if (state.start !== null) state.start = Math.min(state.start, agent.starts - 1);
    this.dream = new Dream(agent, this.controller.ends);
    this.dream.reset(state.seed, state.start);
    this.sliders.hold(this.dream.latent);
    this.driven = new Set();
    $("seed").value = state.seed;
    $("start").value = state.start ?? "";
    $("start").placeholder = `${this.dream.start}`;
    this.told();
    await this.draw();
  }

  play() {
    this.player.play();
    $("play").textContent = "Pause";
    this.sliders.hidePreviews();
  }

  pause() {
    this.player.pause();
    $("play").textContent = "Play";
    return this.player.busy.then(() => this.preview());
  }

  async single() {
    if (this.player.playing) await this.pause();
    await this.player.once();
    await this.preview();
  }

  async tick() {
    if (this.resting) return;
    if (this.dream.finished) return this.restart();
    const action = this.state.who === "you" ? this.controls.action() : act(this.controller, this.dream);
    this.controls.stick(); // a gamepad takes the wheel too
    this.driven.add(this.state.who);
    await this.dream.step(action, this.state.temperature);
    this.sliders.hold(this.dream.latent);
    this.gauges.show(action);
    await this.draw();
    if (this.dream.finished) this.ended();
  }

  ended() {
    const { dream, state } = this;
    const who = this.driven.size > 1 ? "both" : this.driven.has("you") ? "you" : this.controller.name || "agent";
    this.episodes.push({ who, temperature: state.temperature, steps: dream.steps, total: dream.total });
    const row = document.createElement("tr");
    for (const cell of [who, state.temperature.toFixed(2), dream.steps, dream.total.toFixed(0)]) {
      row.append(Object.assign(document.createElement("td"), { textContent: cell }));
    }
    $("history").prepend(row);
    if (this.episodes.length > EPISODES) {
      this.episodes.shift();
      $("history").lastChild.remove();
    }
    drawHistory($("history-chart"), this.episodes.slice(-40).map(({ total }) => total));
    if (this.player.playing) {
      this.resting = true;
      setTimeout(() => (this.resting = false), REST_MS);
    }
  }

  // The episode that comes after: the next seed of this one's stream.
  restart() {
    this.state.seed = this.dream.noise.seed();
    this.player.busy = Promise.resolve(); // begin waits for it, and this is inside it
    return this.begin({});
  }

  async draw() {
    const { dream } = this;
    show($("picture"), await this.agent.draw(dream.latent));
    const end = dream.terminated ? ", the end" : dream.truncated ? ", time is up" : "";
    $("figures").textContent = `step ${dream.steps}, return ${dream.total.toFixed(1)}${end}`;
    this.sliders.show(dream.latent);
    this.showExpected();
  }

  showExpected() {
    const expected = this.dream?.expected;
    const chance = expected?.chance ?? 0;
    $("chance").value = chance;
    $("chance-value").textContent = `${(100 * chance).toFixed(1)}%`;
    if (!expected) return;
    const index = Number($("number").value);
    drawMixture($("mixture"), expected.mixture[index], this.dream.latent[index]);
  }

  async move(index, value) {
    this.dream.latent[index] = value;
    show($("picture"), await this.agent.draw(this.dream.latent));
  }

  async preview() {
    const wanted = () => $("previews").checked && !this.player.playing;
    if (!$("previews").checked) this.sliders.hidePreviews();
    await this.sliders.preview(Float32Array.from(this.dream.latent), wanted);
  }

  async showStarts() {
    const { agent } = this;
    const any = () => Math.floor(Math.random() * agent.starts);
    const picked = [...new Set(Array.from({ length: STARTS_SHOWN }, any))];
    const buttons = [];
    for (const index of picked) {
      const button = document.createElement("button");
      const canvas = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });
      button.setAttribute("aria-label", `Begin at frame ${index}`);
      button.append(canvas);
      button.addEventListener("click", () => this.begin({ start: index }).catch(this.failed));
      show(canvas, await agent.draw(agent.start(index).mu));
      buttons.push(button);
    }
    $("starts").replaceChildren(...buttons);
  }

  async copyLink() {
    const link = new URL(writeState(this.state), location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      $("link").textContent = "Copied";
    } catch {
      prompt("The link", link); // without leave for the clipboard
    }
    setTimeout(() => ($("link").textContent = "Copy a link to this dream"), 1500);
  }

  told() {
    this.state.pinned = { ...this.sliders.pins };
    this.changed();
  }
}
