// M's dream of a game, step by step, as world_models.worlds.dream has it; V draws it.

import { Noise } from "./noise.js";

export const SIZE = 64; // pixels of a frame, each way

// Reads an agent: what there is to know of it, its first latents, V's decoder and a step of M.
export async function loadAgent(runtime, folder) {
  const get = async (name) => {
    const found = await fetch(`${folder}/${name}`);
    if (!found.ok) throw new Error(`${folder}/${name}: ${found.status} ${found.statusText}`);
    return found;
  };
  const [told, starts, decode, step] = await Promise.all([
    get("agent.json").then((found) => found.json()),
    get("starts.bin").then((found) => found.arrayBuffer()),
    runtime.open(`${folder}/decoder.onnx`),
    runtime.open(`${folder}/step.onnx`),
  ]);
  return new Agent(told, new Float32Array(starts), decode, step);
}

class Agent {
  constructor(told, starts, decode, step) {
    Object.assign(this, told, { startLatents: starts, decode, step });
  }

  // Mean and log variance of the z of a stored first frame.
  start(index) {
    const size = this.latentSize;
    const at = index * 2 * size;
    return {
      mu: this.startLatents.subarray(at, at + size),
      logvar: this.startLatents.subarray(at + size, at + 2 * size),
    };
  }

  // V's picture of a latent, as pixels that a canvas takes.
  async draw(latent) {
    const { image } = await this.decode({ latent: row(latent) });
    const pixels = new ImageData(SIZE, SIZE);
    const plane = SIZE * SIZE;
    for (let at = 0; at < plane; at++) {
      for (let colour = 0; colour < 3; colour++) {
        pixels.data[4 * at + colour] = Math.round(255 * image[colour * plane + at]);
      }
      pixels.data[4 * at + 3] = 255;
    }
    return pixels;
  }
}

// C: what an agent does of its own, a = tanh(W [z, h] + b).
export function act(controller, { latent, hidden, cell }) {
  let values = [...latent, ...hidden, ...(controller.cell ? cell : [])];
  for (const { weight, bias } of controller.layers) {
    values = weight.map((weights, output) =>
      Math.tanh(weights.reduce((sum, w, i) => sum + w * values[i], bias[output])),
    );
  }
  return values;
}

export class Dream {
  // ends: "likely" (as soon as M holds an end for likely) or "drawn" (by M's chance of it).
  constructor(agent, ends) {
    this.agent = agent;
    this.ends = ends;
  }

  // Begins an episode: at a stored first frame, or at the one that the seed picks.
  reset(seed, start = null) {
    const { agent } = this;
    this.noise = new Noise(seed);
    const picked = Math.floor(this.noise.uniform(1)[0] * agent.starts);
    this.start = start ?? picked;
    const { mu, logvar } = agent.start(this.start);
    const noise = this.noise.normal(agent.latentSize);
    this.latent = Float32Array.from(mu, (mean, i) => mean + Math.exp(logvar[i] / 2) * noise[i]);
    this.hidden = new Float32Array(agent.hiddenSize);
    this.cell = new Float32Array(agent.hiddenSize);
    this.steps = 0;
    this.total = 0;
    this.terminated = this.truncated = false;
    this.expected = null;
  }

  get finished() {
    return this.terminated || this.truncated;
  }

  // Takes a step: M moves on, and z' is drawn from its mixture at a temperature.
  async step(action, temperature) {
    const { agent, noise } = this;
    const found = await agent.step({
      latent: row(this.latent),
      action: row(action),
      restart: row([this.steps === 0 ? 1 : 0]),
      hidden: row(this.hidden),
      cell: row(this.cell),
    });
    const mixture = heated(found, agent.latentSize, agent.mixtures, temperature);
    const uniform = noise.uniform(agent.latentSize);
    const normal = noise.normal(agent.latentSize);
    const { latent, chosen } = sample(mixture, uniform, normal);
    const logit = found.done_logit?.[0] ?? -Infinity;
    const chance = 1 / (1 + Math.exp(Math.log(agent.doneWeight) - logit));
    const reward = found.reward?.[0] ?? 1;
    Object.assign(this, { latent, hidden: found.next_hidden, cell: found.next_cell });
    this.steps += 1;
    this.total += reward;
    this.terminated = this.ends === "likely" ? logit > 0 : this.drawsEnd(found, chance);
    this.truncated = !this.terminated && this.steps >= agent.timeLimit;
    this.expected = { mixture, chance, reward, chosen };
    return this.expected;
  }

  drawsEnd(found, chance) {
    return Boolean(found.done_logit) && this.noise.uniform(1)[0] < chance;
  }
}

// M's mixture at a temperature: a list of weights, means and deviations for each number of z.
function heated({ logits, mu, log_sigma: logSigma }, size, mixtures, temperature) {
  const wider = Math.sqrt(temperature);
  return Array.from({ length: size }, (_, number) => {
    const of = (part) => Array.from({ length: mixtures }, (_, k) => part[k * size + number]);
    const scaled = of(logits).map((logit) => logit / temperature);
    const top = Math.max(...scaled);
    const odds = scaled.map((logit) => Math.exp(logit - top));
    const all = odds.reduce((sum, one) => sum + one, 0);
    return {
      weights: odds.map((one) => one / all),
      mu: of(mu),
      sigma: of(logSigma).map((log) => Math.exp(log) * wider),
    };
  });
}

// One Gaussian for each number of z, picked by a uniform number, and a value out of it.
function sample(mixture, uniform, normal) {
  const chosen = mixture.map(({ weights }, number) => {
    let past = 0;
    let sum = 0;
    for (const weight of weights.slice(0, -1)) {
      sum += weight;
      past += uniform[number] > sum ? 1 : 0;
    }
    return past;
  });
  const latent = Float32Array.from(
    mixture,
    ({ mu, sigma }, number) => mu[chosen[number]] + sigma[chosen[number]] * normal[number],
  );
  return { latent, chosen };
}

function row(data) {
  return { data, dims: [1, data.length] };
}
