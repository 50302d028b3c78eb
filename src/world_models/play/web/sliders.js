// All of z, a slider for each number, sorted by how much it carries.

import { show } from "./charts.js";
import { SIZE } from "./dream.js";

const FAR = 2.5; // how far a preview moves a number, to either side

export class Sliders {
  // moved(index, value): a person has moved a number; pinned(index, value or null).
  constructor(place, moved, pinned) {
    Object.assign(this, { place, moved, pinned, pins: {}, rows: [] });
  }

  use(agent, pins) {
    this.agent = agent;
    this.pins = Object.fromEntries(
      Object.entries(pins).filter(([index]) => Number(index) < agent.latentSize),
    );
    this.rows = [];
    this.place.replaceChildren(...agent.order.map((index) => this.row(index)));
  }

  row(index) {
    const row = document.createElement("div");
    row.className = "slider";
    row.innerHTML = `<label for="z-${index}">z<sub>${index}</sub></label>
      <input id="z-${index}" type="range" min="-5" max="5" step="0.01" />
      <span class="number"></span>
      <input type="checkbox" aria-label="Pin z ${index}" title="Pin" />
      <span class="previews" hidden></span>`;
    const [, range, value, pin] = row.children;
    range.addEventListener("input", () => {
      value.textContent = Number(range.value).toFixed(2);
      if (pin.checked) this.pin(index, Number(range.value));
      this.moved(index, Number(range.value));
    });
    pin.checked = index in this.pins;
    pin.addEventListener("change", () => this.pin(index, pin.checked ? Number(range.value) : null));
    this.rows[index] = { row, range, value, pin };
    return row;
  }

  pin(index, value) {
    if (value === null) delete this.pins[index];
    else this.pins[index] = value;
    this.pinned(index, value);
  }

  release() {
    for (const index of Object.keys(this.pins)) {
      this.rows[index].pin.checked = false;
      this.pin(index, null);
    }
  }

  // Holds the numbers that are pinned.
  hold(latent) {
    for (const [index, value] of Object.entries(this.pins)) latent[index] = value;
  }

  show(latent) {
    this.rows.forEach(({ range, value }, index) => {
      if (range === document.activeElement && range.matches(":active")) return;
      range.value = latent[index];
      value.textContent = latent[index].toFixed(2);
    });
  }

  // Draws, beside each, this moment with its number low and high; stops where that is not wanted
  // any more.
  async preview(latent, wanted) {
    for (const index of this.agent.order) {
      if (!wanted()) return;
      const pictures = [];
      for (const value of [-FAR, FAR]) {
        const other = Float32Array.from(latent);
        other[index] = value;
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = SIZE;
        canvas.title = `z ${index} = ${value}`;
        canvas.setAttribute("role", "img");
        show(canvas, await this.agent.draw(other));
        pictures.push(canvas);
      }
      const place = this.rows[index].row.querySelector(".previews");
      place.replaceChildren(...pictures);
      place.hidden = false;
    }
  }

  hidePreviews() {
    for (const { row } of this.rows) row.querySelector(".previews").hidden = true;
  }
}
