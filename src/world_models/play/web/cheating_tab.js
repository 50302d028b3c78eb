// Two agents in the same dream: one bred in a dream that is sure of itself, one in a wilder one.

import { show } from "./charts.js";
import { act, Dream, SIZE } from "./dream.js";
import { Player } from "./player.js";
import { placeOf, temperatureAt } from "./state.js";

const $ = (id) => document.getElementById(id);

// The controllers of an agent that are held beside each other: those that were bred for it, the
// first and the last; none where there are fewer than two.
export function pairOf(agent) {
  const bred = agent.controllers.filter(({ name }) => name.startsWith("tau-"));
  const among = bred.length > 1 ? bred : agent.controllers;
  return among.length > 1 ? [among[0], among.at(-1)] : [];
}

export class CheatingTab {
  constructor(failed) {
    this.player = new Player(() => this.tick(), (error) => {
      this.toggle(false);
      failed(error);
    });
    this.player.rate = 40;
    $("cheat-temperature").addEventListener("input", () => this.heat());
    $("cheat-play").addEventListener("click", () => this.toggle());
  }

  // Takes over another agent's pair.
  use(agent) {
    if (this.agent === agent) return;
    this.agent = agent;
    const pair = pairOf(agent);
    this.sides = pair.map((controller) => new Side(agent, controller));
    $("pair").replaceChildren(...this.sides.map(({ figure }) => figure));
    $("cheat-temperature").value = placeOf(Math.max(0.05, pair[0].temperature));
    this.heat();
    this.seed = 1;
    this.begin();
  }

  heat() {
    this.temperature = temperatureAt(Number($("cheat-temperature").value));
    $("cheat-temperature-value").textContent = this.temperature.toFixed(2);
  }

  toggle(playing = !this.player.playing) {
    if (playing) this.player.play();
    else this.player.pause();
    $("cheat-play").textContent = playing ? "Pause" : "Play";
  }

  begin() {
    for (const side of this.sides) side.dream.reset(this.seed);
  }

  async tick() {
    if (this.sides.every(({ dream }) => dream.finished)) {
      this.seed += 1;
      this.begin();
    }
    for (const side of this.sides) await side.step(this.temperature);
  }
}

class Side {
  constructor(agent, controller) {
    this.agent = agent;
    this.controller = controller;
    this.dream = new Dream(agent, controller.ends);
    this.lived = [];
    this.figure = document.createElement("figure");
    this.figure.className = "screen";
    this.figure.innerHTML = `<canvas width="${SIZE}" height="${SIZE}" role="img"></canvas><figcaption><span></span><span></span></figcaption>`;
    [this.canvas] = this.figure.children;
    [this.name, this.figures] = this.figure.lastChild.children;
    const bred = `bred at τ ${controller.temperature}`;
    this.canvas.setAttribute("aria-label", `The dream of the agent ${bred}`);
    this.name.textContent = controller.name || bred;
  }

  async step(temperature) {
    const { dream, agent } = this;
    if (dream.finished) return;
    await dream.step(act(this.controller, dream), temperature);
    if (dream.finished) this.lived.push(dream.steps);
    show(this.canvas, await agent.draw(dream.latent));
    const mean = this.lived.reduce((sum, steps) => sum + steps, 0) / this.lived.length;
    const so = this.lived.length ? `, mean of ${this.lived.length}: ${mean.toFixed(0)}` : "";
    this.figures.textContent = `${dream.steps} steps${so}`;
  }
}
