// The page: which tab is open, which agent is loaded, and what the address says.

import { CheatingTab, pairOf } from "./cheating_tab.js";
import { loadAgent } from "./dream.js";
import { DreamTab } from "./dream_tab.js";
import { GameTab, servedAgents } from "./game_tab.js";
import { openRuntime } from "./runtime.js";
import { readState, writeState } from "./state.js";

const $ = (id) => document.getElementById(id);
const TABS = ["dream", "cheating", "game"];
const TOLD_MS = 200;

const state = readState(location.hash);
const agents = new Map();
let runtime;
const cheating = new CheatingTab(failed);
let dream;
let game;
let served;
let told;

function say(text) {
  $("message").textContent = text;
}

function failed(error) {
  console.error(error);
  say(`Something went wrong: ${error.message ?? error}`);
}

// Browsers take so many changes of the address, and no more.
function changed() {
  clearTimeout(told);
  told = setTimeout(() => history.replaceState(null, "", writeState(state)), TOLD_MS);
}

async function open(task) {
  say(`Waking up ${task} …`);
  const folder = `agents/${encodeURIComponent(task)}`;
  if (!agents.has(task)) agents.set(task, await loadAgent(runtime, folder));
  const agent = agents.get(task);
  $("tab-cheating").hidden = !pairOf(agent).length;
  $("card").hidden = !agent.card;
  $("card").href = `${folder}/card.md`;
  say("");
  return agent;
}

async function choose(tab) {
  state.tab = tab;
  for (const name of TABS) {
    $(name).hidden = name !== tab;
    $(`tab-${name}`).setAttribute("aria-selected", name === tab);
    $(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
  }
  if (tab !== "dream") await dream.pause();
  cheating.toggle(false);
  game?.toggle(false);
  if (tab === "cheating") cheating.use(dream.agent);
  if (tab === "game") game ??= new GameTab(served, failed);
  changed();
}

function listen() {
  addEventListener("hashchange", () => location.reload()); // another link, in the page that is open
  // Keys are for the game again after a mouse was here; who came by keys stays where they are.
  addEventListener("click", ({ detail, target }) => detail && target.closest("button")?.blur());
  addEventListener("pointerup", ({ target }) => target.closest?.("input[type=range]")?.blur());
  for (const name of TABS) $(`tab-${name}`).addEventListener("click", () => choose(name).catch(failed));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const shown = TABS.filter((name) => !$(`tab-${name}`).hidden);
    const next = shown.at((shown.indexOf(state.tab) + step) % shown.length);
    $(`tab-${next}`).focus();
    choose(next).catch(failed);
  });
}

async function begin() {
  const [tasks] = await Promise.all([
    fetch("agents/index.json").then((found) => found.json()),
    openRuntime(state.backend).then((opened) => (runtime = opened)),
  ]);
  $("backend").textContent = runtime.name;
  served = await servedAgents();
  $("tab-game").hidden = !served.length;
  dream = new DreamTab(tasks, state, { open, changed, failed });
  listen();
  await dream.choose(tasks.includes(state.task) ? state.task : tasks[0]);
  await choose(TABS.includes(state.tab) && !$(`tab-${state.tab}`).hidden ? state.tab : "dream");
  document.body.dataset.ready = "yes";
}

begin().catch(failed);
