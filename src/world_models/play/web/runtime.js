// What runs the networks: ONNX Runtime, on the GPU where the browser has WebGPU, else as WASM.

export class Runtime {
  constructor(ort, backend) {
    this.ort = ort;
    this.backend = backend;
    this.last = Promise.resolve();
  }

  get name() {
    return this.backend === "webgpu" ? "WebGPU" : "WASM, one thread";
  }

  // Does things one after another: on a GPU a second session is refused while one is opened, and a
  // session takes one run at a time.
  inTurn(work) {
    const done = this.last.then(work);
    this.last = done.catch(() => undefined);
    return done;
  }

  // Opens a network.
  async open(url) {
    const session = await this.inTurn(() =>
      this.ort.InferenceSession.create(url, {
        executionProviders: [this.backend],
        graphOptimizationLevel: "all",
      }),
    );
    return async (inputs) => {
      const feeds = Object.entries(inputs).map(([name, { data, dims }]) => [
        name,
        new this.ort.Tensor("float32", Float32Array.from(data), dims),
      ]);
      const found = await this.inTurn(() => session.run(Object.fromEntries(feeds)));
      return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data]));
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
