// What a person has in hand: keys, buttons on the screen, a gamepad.

const THRESHOLD = 0.2; // of a stick, under which it is at rest

export class Controls {
  // pads: where buttons go; active(): whether keys are meant for these controls now; taken():
  // called whenever a person reaches for them.
  constructor(pads, active, taken) {
    Object.assign(this, { pads, active, taken, held: new Set(), controls: [] });
    addEventListener("keydown", (event) => this.key(event, true));
    addEventListener("keyup", (event) => this.key(event, false));
    addEventListener("blur", () => this.held.clear());
  }

  // Takes over a game's controls: each with a name, and keys for less and more.
  use(controls) {
    this.controls = controls;
    this.held.clear();
    this.pads.replaceChildren(...controls.flatMap((control) => this.padsOf(control)));
  }

  get hint() {
    const keys = this.controls.flatMap(({ less, more }) => [less, more]).filter(Boolean);
    return keys.length ? `Keys: ${keys.map(symbol).join(" ")}` : "";
  }

  padsOf({ name, less, more }) {
    return [less, more].filter(Boolean).map((key) => {
      const pad = document.createElement("button");
      pad.textContent = symbol(key);
      pad.setAttribute("aria-label", `${name}: ${key.replace("Arrow", "").toLowerCase()}`);
      const hold = (down) => (event) => {
        event.preventDefault();
        this.hold(key, down);
      };
      pad.addEventListener("pointerdown", hold(true));
      for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
        pad.addEventListener(end, hold(false));
      }
      return pad;
    });
  }

  key(event, down) {
    const typing = event.target.closest?.("input, select, textarea, [role=tab]");
    const known = this.controls.some(({ less, more }) => [less, more].includes(event.key));
    if (!down) this.held.delete(event.key); // wherever the focus is by now
    if (!known || typing || !this.active() || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.hold(event.key, down);
  }

  hold(key, down) {
    if (down) {
      this.held.add(key);
      this.taken();
    } else {
      this.held.delete(key);
    }
  }

  // The action that is in hand now: a number in [-1, 1] for each control.
  action() {
    const stick = this.stick();
    return this.controls.map(({ less, more, rest }, number) => {
      const less_ = this.held.has(less);
      const more_ = this.held.has(more);
      if (less_ !== more_) return less_ ? -1 : 1;
      return stick[number] ?? rest;
    });
  }

  // A gamepad's: its stick for controls of two ways, its triggers, in turn, for those of one.
  stick() {
    const pad = [...(navigator.getGamepads?.() ?? [])].find(Boolean);
    if (!pad) return [];
    const triggers = [7, 6];
    const values = this.controls.map(({ less, more }) => {
      if (less && more) {
        const along = less === "ArrowRight" ? -pad.axes[0] : pad.axes[0];
        return Math.abs(along) > THRESHOLD ? along : undefined;
      }
      const pressed = pad.buttons[triggers.shift()]?.value ?? 0;
      return pressed > THRESHOLD ? 2 * pressed - 1 : undefined;
    });
    if (values.some((value) => value !== undefined)) this.taken();
    return values;
  }
}

function symbol(key) {
  return { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" }[key] ?? key;
}
