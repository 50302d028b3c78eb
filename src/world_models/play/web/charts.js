// What is drawn beside the dream: gauges of the action, M's mixture, scores.

const REACH = 4.5; // of z, to either side, that the mixture is drawn over

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { line: of("--line"), accent: of("--accent"), warm: of("--warm") };
}

// Puts pixels on a canvas of their size; the page enlarges it.
export function show(canvas, pixels) {
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

export class Gauges {
  constructor(place, controls) {
    this.rows = controls.map(({ name }) => {
      const row = document.createElement("div");
      row.className = "gauge";
      row.innerHTML = '<span></span><div class="track"><div class="value"></div></div><span class="number"></span>';
      row.firstChild.textContent = name;
      return row;
    });
    this.controls = controls;
    place.replaceChildren(...this.rows);
  }

  // A control of two ways fills from the middle, one of one way from the left.
  show(action) {
    action.forEach((value, number) => {
      const { less, least } = this.controls[number];
      const zero = less ? 0.5 : 0;
      const at = Math.max(0, less ? (value + 1) / 2 : (value - least) / (1 - least));
      const bar = this.rows[number].querySelector(".value");
      bar.style.left = `${100 * Math.min(zero, at)}%`;
      bar.style.width = `${100 * Math.abs(at - zero)}%`;
      this.rows[number].querySelector(".number").textContent = value.toFixed(2);
    });
  }

}

// M's Gaussians for one number of z, their sum, and the value that was drawn.
export function drawMixture(canvas, { weights, mu, sigma }, drawn) {
  const { width, height } = canvas;
  const pen = canvas.getContext("2d");
  const { line, accent, warm } = colours();
  const at = (x) => ((x + REACH) / (2 * REACH)) * width;
  const grid = Array.from({ length: width / 2 }, (_, i) => (i / (width / 2 - 1)) * 2 * REACH - REACH);
  const density = (k, x) =>
    ((weights[k] / sigma[k]) * Math.exp((-0.5 * (x - mu[k]) ** 2) / sigma[k] ** 2)) / 2.5066;
  const parts = weights.map((_, k) => grid.map((x) => density(k, x)));
  const sum = grid.map((_, i) => parts.reduce((total, part) => total + part[i], 0));
  const top = Math.max(...sum, 1e-9);
  pen.clearRect(0, 0, width, height);
  const curve = (values, colour, thick) => {
    pen.beginPath();
    grid.forEach((x, i) => pen.lineTo(at(x), height - 4 - (values[i] / top) * (height - 14)));
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.stroke();
  };
  pen.strokeStyle = line;
  pen.strokeRect(0, height - 3.5, width, 0);
  parts.forEach((part) => curve(part, line, 1.5));
  curve(sum, accent, 2.5);
  pen.fillStyle = warm;
  pen.fillRect(at(drawn) - 1.5, 0, 3, height);
}

// A bar for each episode.
export function drawHistory(canvas, returns) {
  const { width, height } = canvas;
  const pen = canvas.getContext("2d");
  const { line, accent } = colours();
  pen.clearRect(0, 0, width, height);
  const low = Math.min(0, ...returns);
  const reach = Math.max(1, ...returns) - low;
  const zero = height - (-low / reach) * height;
  const wide = Math.min(24, width / Math.max(1, returns.length));
  returns.forEach((value, i) => {
    pen.fillStyle = accent;
    const tall = (value / reach) * height;
    pen.fillRect(i * wide + 1, zero - Math.max(tall, 0), wide - 2, Math.max(Math.abs(tall), 1));
  });
  pen.fillStyle = line;
  pen.fillRect(0, zero - 0.5, width, 1);
}
