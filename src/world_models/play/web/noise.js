// Random numbers that hang on a seed alone: those of world_models.worlds.noise, to the bit.
// splitmix64 (Steele, Lea and Flood, 2014) applied to a counter.

const MASK = (1n << 64n) - 1n;
const INCREMENT = 0x9e3779b97f4a7c15n;
const UNIT = 2 ** -24; // what a float32 holds exactly

function mix(x) {
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

function unit(word, low) {
  const bits = Number((word >> BigInt(low)) & 0xffffffn);
  return Math.min((bits + 0.5) * UNIT, 1 - UNIT);
}

export class Noise {
  // One stream of numbers.
  constructor(seed) {
    this.key = mix((BigInt(seed) + INCREMENT) & MASK);
    this.drawn = 0n;
  }

  words(size) {
    return Array.from({ length: size }, () => mix((this.drawn++ * INCREMENT + this.key) & MASK));
  }

  // Numbers in (0, 1).
  uniform(size) {
    return this.words(size).map((word) => unit(word, 40));
  }

  // Standard normal numbers (Box-Muller).
  normal(size) {
    return this.words(size).map(
      (word) => Math.sqrt(-2 * Math.log(unit(word, 40))) * Math.cos(2 * Math.PI * unit(word, 16)),
    );
  }

  // The seed of an episode that comes after, in [0, 2^31).
  seed() {
    return Number(this.words(1)[0] >> 33n);
  }
}
