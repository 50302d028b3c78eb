// What runs the networks: ONNX Runtime, on the GPU where the browser has WebGPU, else as WASM.

export class Runtime {
  constructor(ort, backend) {
    this.ort = ort;
    this.backend = backend;
  }

  get name() {
    return this.backend === "webgpu" ? "WebGPU" : "WASM, one thread";
  }

  // Opens a network. Its runs follow one another: a network takes one at a time.
  async open(url) {
    const session = await this.ort.InferenceSession.create(url, {
      executionProviders: [this.backend],
      graphOptimizationLevel: "all",
    });
    let last = Promise.resolve();
    return (inputs) => {
      const feeds = Object.entries(inputs).map(([name, { data, dims }]) => [
        name,
        new this.ort.Tensor("float32", Float32Array.from(data), dims),
      ]);
      const run = last.then(() => session.run(Object.fromEntries(feeds)));
      last = run.catch(() => undefined);
      return run.then((found) =>
        Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data])),
      );
    };
  }
}

// Whether the browser has a GPU that it lets pages compute on; one that is imitated is no gain.
async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    const device = adapter && !adapter.info?.isFallbackAdapter && (await adapter.requestDevice());
    device?.destroy();
    return Boolean(device);
  } catch {
    return false;
  }
}

async function opened(backend) {
  const ort = await import(`./runtime/ort.${backend}.min.mjs`);
  ort.env.wasm.numThreads = 1; // more need headers that static servers don't send
  ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
  return new Runtime(ort, backend);
}

// Opens the runtime: the one that is asked for, or the best that works here.
export async function openRuntime(wanted) {
  return opened(wanted ?? ((await hasGpu()) ? "webgpu" : "wasm"));
}
