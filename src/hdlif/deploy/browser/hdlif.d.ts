/** Deployed spiking neural networks, by a WebAssembly module. Arrays are float32 in the order [time][batch][C][H][W]. */

/** A call that failed: `message` says what was seen and how to fix it; `status` is one of HDLIF_ERROR_... of hdlif.h. */
export class HdlifError extends Error {
  readonly status: number;
}

/** Instantiates hdlif.wasm, given as its bytes or compiled. */
export function instantiate(module: BufferSource | WebAssembly.Module): Promise<Runtime>;

export interface Runtime {
  readonly version: string;
  /** Opens the bytes of NAME.hdlif.safetensors; throws HdlifError. Bytes default to 2^31, operations to 2^42 a call. */
  open(bytes: BufferSource, limits?: Limits): Network;
  /** Opens them to train the network further. `hdlif.runtime.learning.numbered` in Python gives `places` and `needed`. */
  learner(
    bytes: BufferSource,
    trained: {
      /** Of each trained tensor: the number of its node, its row or -1 for weights, whether these are binary. */
      places: [number, number, boolean | number][];
      /** Of each node: whether its output needs a gradient. */
      needed: (boolean | number)[];
      /** Of floats, of low-bit weights, and the momentum: those of `hdlif.LearningRate`. */
      rate: [number, number, number];
    },
    limits?: Limits,
  ): Learner;
}

export interface Limits {
  maxBytes?: number;
  maxOperations?: number;
}

export interface Network {
  readonly timeSteps: number;
  /** [C, H, W] of a step. */
  readonly inputShape: [number, number, number];
  readonly inputKind: "image" | "events" | "series" | "table";
  readonly frameSize: number;
  /** [C, H, W] of the outputs of a step: of classes [classes, 1, 1], of a class per pixel [classes, H, W]. */
  readonly outputShape: [number, number, number];
  /** Their entries, C * H * W. */
  readonly outputs: number;
  /** Of the C channels. */
  readonly labels: string[];
  /** Of the graph: the input and every node's output, a vector as [C, 1, 1]. */
  readonly values: { name: string; shape: [number, number, number] }[];
  /** What the file holds: docs/contributing/model_format.md. */
  readonly graph: Record<string, unknown>;
  /** (raw / 255 - mean) / std of images, (raw - mean) / std of others; by channel. */
  normalise(raw: Float32Array): Float32Array;
  /** Logits [steps][batch][outputs] of x [1 or steps][batch][C][H][W]; of one frame by default `timeSteps` steps. */
  run(x: Float32Array, options?: { batch?: number; steps?: number }): Float32Array;
  /** The same, and the values of these names, [steps][batch][C][H][W]. */
  runValues(
    x: Float32Array,
    names: string[],
    options?: { batch?: number; steps?: number },
  ): { logits: Float32Array; values: Map<string, Float32Array> };
  /**
   * Runs one input x [1 or steps][C][H][W] until its class has the probability, by default the file's own: the logits
   * that the class is read off, and how many steps ran.
   */
  runUntilSure(x: Float32Array, options?: { steps?: number; confidence?: number }): { logits: Float32Array; steps: number };
  /** A sequence that goes on from call to call. */
  stream(): Stream;
  close(): void;
}

export interface Stream {
  /** Steps seen; -1 where its state is lost. */
  readonly steps: number;
  /** Logits [steps][outputs] of the next frames [steps][C][H][W]. */
  run(x: Float32Array): Float32Array;
  reset(): void;
  /** The state as bytes (hdlif.h says their form), which any stream of the same artefact loads. */
  save(): Uint8Array;
  load(state: BufferSource): void;
  close(): void;
}

export interface Learner {
  /** As in `Network`. */
  readonly frameSize: number;
  readonly outputs: number;
  readonly timeSteps: number;
  /**
   * Runs a step of frames [batch][C][H][W]: logits [batch][outputs]. Step t = 0 begins a sequence; with a class for each
   * frame, the step adds its gradients.
   */
  step(x: Float32Array, t: number, targets?: number[] | null): Float32Array;
  /** Updates the weights with the mean gradient since the last update. */
  update(): void;
  /** The network with its current weights, independent of the learner. */
  network(): Network;
  close(): void;
}
