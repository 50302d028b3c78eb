// What a link holds: which dream this is.

const LOWEST = 0.05;
const HIGHEST = 3;

// A slider's place, 0 to 1, and the temperature there; equal steps are equal factors.
export const temperatureAt = (place) => LOWEST * (HIGHEST / LOWEST) ** place;
export const placeOf = (temperature) => Math.log(temperature / LOWEST) / Math.log(HIGHEST / LOWEST);

function number(text, low, high) {
  const value = Number(text);
  return text !== null && text !== "" && Number.isFinite(value) && value >= low && value <= high
    ? value
    : null;
}

// Reads the state out of an address; what is not there, or makes no sense, is null.
export function readState(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  const whole = (name, high) => {
    const value = number(found.get(name), 0, high);
    return Number.isInteger(value) ? value : null;
  };
  const pinned = {};
  for (const pair of (found.get("z") ?? "").split(",")) {
    const [index, value] = pair.split(":").map((text) => number(text ?? "", -10, 10000));
    if (index !== null && Number.isInteger(index) && index >= 0 && value !== null && value <= 10) {
      pinned[index] = value;
    }
  }
  return {
    tab: found.get("tab"),
    task: found.get("task"),
    controller: found.get("agent"),
    temperature: number(found.get("tau"), LOWEST, HIGHEST),
    seed: whole("seed", 2 ** 31 - 1),
    start: whole("start", 2 ** 31 - 1),
    who: found.get("who") === "you" ? "you" : "agent",
    pinned,
    backend: ["wasm", "webgpu"].find((name) => name === found.get("backend")),
  };
}

export function writeState({ tab, task, controller, temperature, seed, start, who, pinned }) {
  const shown = new URLSearchParams();
  const put = (name, value) => value !== null && value !== undefined && value !== "" && shown.set(name, value);
  put("tab", tab === "dream" ? null : tab);
  put("task", task);
  put("agent", controller);
  put("tau", temperature && Number(temperature.toFixed(3)));
  put("seed", seed);
  put("start", start);
  put("who", who === "you" ? who : null);
  put("z", Object.entries(pinned).map(([index, value]) => `${index}:${value}`).join(","));
  return `#${shown}`;
}
