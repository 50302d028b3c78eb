// Does something so many times a second, never two at once, and says when it fails.

export class Player {
  constructor(tick, failed) {
    Object.assign(this, { tick, failed, rate: 30, chain: 0, playing: false });
    this.busy = Promise.resolve();
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.next(performance.now(), ++this.chain);
  }

  pause() {
    this.playing = false;
  }

  // One tick, after the one that is under way.
  once() {
    this.busy = this.busy.then(() => this.tick()).catch((error) => {
      this.pause();
      this.failed(error);
    });
    return this.busy;
  }

  // Of the chain that the last play began; one that was paused is over, whatever it still waits for.
  async next(due, chain) {
    if (!this.playing || chain !== this.chain) return;
    await this.once();
    const now = performance.now();
    const then = Math.max(due + 1000 / this.rate, now - 100); // a tab that slept doesn't catch up
    setTimeout(() => this.next(then, chain), Math.max(0, then - now));
  }
}
