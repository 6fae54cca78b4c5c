/* The C interface of hdlif, compiled to WebAssembly, for JavaScript. hdlif.d.ts has the types. */

const OPTIONS_BYTES = 40;
/** Largest allocation: addresses have 32 bits, and a larger size would overflow. */
const MOST_BYTES = 2 ** 31;

/** A failed call; `status` is one of the HDLIF_ERROR_... codes in hdlif.h. */
export class HdlifError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "HdlifError";
    this.status = status;
  }
}

/** Instantiates the module, given as bytes or as a compiled WebAssembly.Module. */
export async function instantiate(module) {
  const compiled = module instanceof WebAssembly.Module ? module : await WebAssembly.compile(module);
  let memory = null;
  const imports = {
    env: { emscripten_notify_memory_growth() {} },
    wasi_snapshot_preview1: {
      clock_time_get(clock, precision, at) {
        const nanoseconds = BigInt(Math.round(globalThis.performance.now() * 1e6));
        new DataView(memory.buffer).setBigUint64(at, nanoseconds, true);
        return 0;
      },
    },
  };
  const instance = await WebAssembly.instantiate(compiled, imports);
  memory = instance.exports.memory;
  instance.exports._initialize();
  return new Runtime(instance.exports);
}

/** Memory, text and error handling, shared by all wrappers. */
class Runtime {
  constructor(exports) {
    this.exports = exports;
  }

  get version() {
    return this.text(this.exports.hdlif_version());
  }

  /** Opens the bytes of a model file. */
  open(bytes, limits) {
    return this.within((room) => {
      const [content, options, handle] = [this.put(room, asBytes(bytes)), this.options(room, limits), room(4)];
      this.check(this.exports.hdlif_open(content, bytes.byteLength, options, handle));
      return new Network(this, this.pointer(handle));
    });
  }

  /** Opens the bytes of a model file to train the network further. */
  learner(bytes, { places, needed, rate }, limits) {
    return this.within((room) => {
      const [content, options, handle] = [this.put(room, asBytes(bytes)), this.options(room, limits), room(4)];
      const trained = this.put(room, Int32Array.from(places.flat()));
      const flags = this.put(room, Uint8Array.from(needed));
      const rates = this.put(room, Float32Array.from(rate));
      const sizes = [places.length, flags, needed.length];
      this.check(
        this.exports.hdlif_learner_open(content, bytes.byteLength, options, trained, ...sizes, rates, handle),
      );
      return new Learner(this, this.pointer(handle));
    });
  }

  options(room, { maxBytes = 2 ** 31, maxOperations = 2 ** 42 } = {}) {
    const at = this.put(room, new Uint8Array(OPTIONS_BYTES));
    const view = new DataView(this.exports.memory.buffer, at, OPTIONS_BYTES);
    view.setUint32(0, OPTIONS_BYTES, true);
    view.setInt32(4, 1, true); // threads
    view.setBigInt64(16, BigInt(maxBytes), true);
    view.setBigInt64(24, BigInt(maxOperations), true);
    return at;
  }

  /** Copies a typed array into memory that `room` allocates. */
  put(room, array) {
    const at = room(array.byteLength);
    this.bytes(at, array.byteLength).set(asBytes(array));
    return at;
  }

  check(status) {
    if (status !== 0) throw new HdlifError(status, this.text(this.exports.hdlif_error_text()));
  }

  /** Calls body(room); room(bytes) allocates memory that is freed when body returns. */
  within(body) {
    const held = [];
    const room = (bytes) => {
      const at = bytes <= MOST_BYTES ? this.exports.malloc(Math.max(bytes, 1)) >>> 0 : 0;
      if (at === 0) throw new HdlifError(6, "not enough memory for this call");
      held.push(at);
      return at;
    };
    try {
      return body(room);
    } finally {
      for (const at of held) this.exports.free(at);
    }
  }

  bytes(at, count) {
    return new Uint8Array(this.exports.memory.buffer, at, count);
  }

  floats(at, count) {
    return new Float32Array(this.exports.memory.buffer, at, count);
  }

  pointer(at) {
    return new DataView(this.exports.memory.buffer).getUint32(at, true);
  }

  text(at) {
    const from = new Uint8Array(this.exports.memory.buffer, at >>> 0);
    return new TextDecoder().decode(from.slice(0, from.indexOf(0)));
  }

  shape(call) {
    return this.within((room) => {
      const at = room(12);
      call(at);
      return [...new Int32Array(this.exports.memory.buffer, at, 3)];
    });
  }

  /** Copies x into memory, calls call(x, logits), and returns a copy of the logits. */
  answer(x, count, call) {
    return this.within((room) => {
      const from = room(4 * x.length);
      const to = room(4 * count);
      this.floats(from, x.length).set(x);
      this.check(call(from, to));
      return this.floats(to, count).slice();
    });
  }
}

/** A deployed network; close it after use. */
class Network {
  constructor(runtime, handle) {
    const { exports } = runtime;
    this.runtime = runtime;
    this.handle = handle;
    this.timeSteps = exports.hdlif_time_steps(handle);
    this.inputShape = runtime.shape((at) => exports.hdlif_input_shape(handle, at));
    this.inputKind = runtime.text(exports.hdlif_input_kind(handle));
    this.frameSize = this.inputShape.reduce((a, b) => a * b);
    this.outputShape = runtime.shape((at) => exports.hdlif_output_shape(handle, at));
    this.outputs = exports.hdlif_outputs(handle);
    this.values = [];
    for (let i = 0; i < exports.hdlif_values(handle); ++i) {
      const shape = runtime.shape((at) => exports.hdlif_value_shape(handle, i, at));
      this.values.push({ name: runtime.text(exports.hdlif_value_name(handle, i)), shape });
    }
    this.graph = JSON.parse(runtime.text(exports.hdlif_graph(handle, 0)));
    this.labels = this.graph.labels;
  }

  close() {
    this.runtime.exports.hdlif_close(this.handle);
    this.handle = 0;
  }

  normalise(raw) {
    const frames = this.#frames(raw);
    return this.runtime.answer(raw, raw.length, (from, to) =>
      this.runtime.exports.hdlif_normalise(this.#held(), from, BigInt(frames), to),
    );
  }

  run(x, { batch = 1, steps } = {}) {
    const [xSteps, count] = this.#steps(x, batch, steps);
    return this.runtime.answer(x, count * batch * this.outputs, (from, to) =>
      this.runtime.exports.hdlif_run(this.#held(), from, BigInt(xSteps), BigInt(batch), BigInt(count), to),
    );
  }

  runUntilSure(x, { steps, confidence = this.graph.confidence } = {}) {
    const { kind = "classify", combine = "mean" } = this.graph.task ?? {};
    if (kind !== "classify" || !(confidence >= 0 && confidence <= 1)) {
      throw new HdlifError(1, `confidence is ${confidence}; it must be a number in 0..1, and the network must classify`);
    }
    const [xSteps, count] = this.#steps(x, 1, steps);
    const stream = this.stream();
    try {
      const sums = new Float32Array(this.labels.length);
      for (let t = 0; ; ++t) {
        const at = xSteps === 1 ? 0 : t * this.frameSize;
        let logits = stream.run(x.subarray(at, at + this.frameSize));
        if (combine === "mean") {
          logits.forEach((logit, k) => (sums[k] += logit));
          logits = sums.map((sum) => sum / (t + 1));
        }
        if (t + 1 === count || isSure(logits, confidence)) return { logits, steps: t + 1 };
      }
    } finally {
      stream.close();
    }
  }

  runValues(x, names, { batch = 1, steps } = {}) {
    const [xSteps, count] = this.#steps(x, batch, steps);
    const { runtime } = this;
    return runtime.within((room) => {
      const from = room(4 * x.length);
      runtime.floats(from, x.length).set(x);
      const logits = room(4 * count * batch * this.outputs);
      const places = this.values.map(({ name, shape }) => {
        const size = count * batch * shape.reduce((a, b) => a * b);
        return names.includes(name) ? { name, size, at: room(4 * size) } : null;
      });
      const table = room(4 * places.length);
      const view = new DataView(runtime.exports.memory.buffer);
      places.forEach((place, i) => view.setUint32(table + 4 * i, place === null ? 0 : place.at, true));
      const sizes = [BigInt(xSteps), BigInt(batch), BigInt(count)];
      runtime.check(runtime.exports.hdlif_run_values(this.#held(), from, ...sizes, logits, table));
      const kept = places.filter((place) => place !== null);
      return {
        logits: runtime.floats(logits, count * batch * this.outputs).slice(),
        values: new Map(kept.map(({ name, size, at }) => [name, runtime.floats(at, size).slice()])),
      };
    });
  }

  stream() {
    const { runtime } = this;
    return runtime.within((room) => {
      const handle = room(4);
      runtime.check(runtime.exports.hdlif_stream_open(this.#held(), handle));
      return new Stream(this, runtime.pointer(handle), runtime.exports.hdlif_state_size(this.handle));
    });
  }

  #held() {
    if (this.handle === 0) throw new HdlifError(1, "the network is closed");
    return this.handle;
  }

  #frames(x) {
    const frames = x.length / this.frameSize;
    if (!(x instanceof Float32Array) || frames === 0 || !Number.isInteger(frames)) {
      throw new HdlifError(1, `x has ${x.length} numbers; it must be a Float32Array of frames of ${this.frameSize} numbers`);
    }
    return frames;
  }

  #steps(x, batch, steps) {
    const xSteps = this.#frames(x) / batch;
    if (!Number.isInteger(xSteps) || !Number.isInteger(batch) || batch < 1) {
      throw new HdlifError(1, `x must consist of complete batches; batch is ${batch}`);
    }
    const count = steps ?? (xSteps === 1 ? this.timeSteps : xSteps);
    if (!Number.isInteger(count) || count < 1) throw new HdlifError(1, `steps is ${count}; it must be an integer of at least 1`);
    return [xSteps, count];
  }
}

/** A sequence that continues from call to call; close it after use. */
class Stream {
  constructor(network, handle, stateSize) {
    this.network = network;
    this.runtime = network.runtime;
    this.handle = handle;
    this.stateSize = stateSize;
  }

  get steps() {
    return Number(this.runtime.exports.hdlif_stream_steps(this.#held()));
  }

  /** Logits [steps][outputs] of the next frames. */
  run(x) {
    const frames = x.length / this.network.frameSize;
    if (!(x instanceof Float32Array) || frames === 0 || !Number.isInteger(frames)) {
      throw new HdlifError(1, `x has ${x.length} numbers; it must be a Float32Array of frames of ${this.network.frameSize} numbers`);
    }
    return this.runtime.answer(x, frames * this.network.outputs, (from, to) =>
      this.runtime.exports.hdlif_stream_run(this.#held(), from, BigInt(frames), to),
    );
  }

  reset() {
    this.runtime.check(this.runtime.exports.hdlif_stream_reset(this.#held()));
  }

  save() {
    return this.runtime.within((room) => {
      const at = room(this.stateSize);
      this.runtime.check(this.runtime.exports.hdlif_stream_save(this.#held(), at, this.stateSize));
      return this.runtime.bytes(at, this.stateSize).slice();
    });
  }

  load(state) {
    this.runtime.within((room) => {
      const at = room(state.byteLength);
      this.runtime.bytes(at, state.byteLength).set(asBytes(state));
      this.runtime.check(this.runtime.exports.hdlif_stream_load(this.#held(), at, state.byteLength));
    });
  }

  close() {
    this.runtime.exports.hdlif_stream_close(this.handle);
    this.handle = 0;
  }

  #held() {
    if (this.handle === 0) throw new HdlifError(1, "the stream is closed");
    return this.handle;
  }
}

/** A network that continues to learn; close it after use. */
class Learner {
  constructor(runtime, handle) {
    this.runtime = runtime;
    this.handle = handle;
    const network = this.network();
    this.frameSize = network.frameSize;
    this.outputs = network.outputs;
    this.timeSteps = network.timeSteps;
    network.close();
  }

  step(x, t, targets = null) {
    const batch = x.length / this.frameSize;
    const isWhole = x instanceof Float32Array && batch > 0 && Number.isInteger(batch) && Number.isInteger(t);
    if (!isWhole || (targets !== null && (targets.length !== batch || !targets.every(Number.isInteger)))) {
      throw new HdlifError(1, `give frames of ${this.frameSize} numbers, an integer step t, and null or one class per frame`);
    }
    const { runtime } = this;
    return runtime.within((room) => {
      const classes = targets === null ? 0 : runtime.put(room, Int32Array.from(targets));
      return runtime.answer(x, batch * this.outputs, (from, to) =>
        runtime.exports.hdlif_learner_step(this.#held(), from, BigInt(batch), BigInt(t), classes, to),
      );
    });
  }

  update() {
    this.runtime.check(this.runtime.exports.hdlif_learner_update(this.#held()));
  }

  network() {
    return this.runtime.within((room) => {
      const handle = room(4);
      this.runtime.check(this.runtime.exports.hdlif_learner_network(this.#held(), handle));
      return new Network(this.runtime, this.runtime.pointer(handle));
    });
  }

  close() {
    this.runtime.exports.hdlif_learner_close(this.handle);
    this.handle = 0;
  }

  #held() {
    if (this.handle === 0) throw new HdlifError(1, "the learner is closed");
    return this.handle;
  }
}

/** Whether a class has the confidence, with the float32 operations of docs/contributing/model_format.md. */
function isSure(logits, confidence) {
  const f = Math.fround;
  const most = Math.max(...logits);
  let total = 0;
  for (const logit of logits) {
    const below = f(most - logit);
    if (!(below >= 0)) return false;
    const a = Math.min(below, 30);
    const n = Math.floor(f(f(a * f(1.44269504)) + 0.5));
    const r = f(f(a - f(n * 0.693359375)) - f(n * f(-2.1219444e-4)));
    const p = [-1 / 120, 1 / 24, -1 / 6, 1 / 2, -1, 1].reduce((sum, factor) => f(f(sum * r) + f(factor)), f(1 / 720));
    total = f(total + p * 2 ** -n);
  }
  return f(f(confidence) * total) <= 1;
}

function asBytes(buffer) {
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer)
    : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
