/** Deployed spiking neural networks in WebAssembly. Arrays are float32 in the order [time][batch][C][H][W]. */

/** A failed call: `message` states the problem and the fix; `status` is one of the HDLIF_ERROR_... codes in hdlif.h. */
export class HdlifError extends Error {
  readonly status: number;
}

/** Instantiates hdlif.wasm, given as its bytes or compiled. */
export function instantiate(module: BufferSource | WebAssembly.Module): Promise<Runtime>;

export interface Runtime {
  readonly version: string;
  /** Opens the bytes of NAME.hdlif.safetensors; throws HdlifError. Defaults: 2^31 bytes, 2^42 operations per call. */
  open(bytes: BufferSource, limits?: Limits): Network;
  /** Opens a file to train its network further. In Python, `hdlif.runtime.learning.numbered` computes `places` and `needed`. */
  learner(
    bytes: BufferSource,
    trained: {
      /** For each trained tensor: the number of its node, its row (-1 for weights), and whether the weights are binary. */
      places: [number, number, boolean | number][];
      /** For each node, whether its output needs a gradient. */
      needed: (boolean | number)[];
      /** Rates for floats and for low-bit weights, and the momentum, as in `hdlif.LearningRate`. */
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
  /** [C, H, W] of the input at a step. */
  readonly inputShape: [number, number, number];
  readonly inputKind: "image" | "events" | "series" | "table";
  readonly frameSize: number;
  /** [C, H, W] of the outputs of a step: [classes, 1, 1] for classification, [classes, H, W] for one class per pixel. */
  readonly outputShape: [number, number, number];
  /** Number of outputs of a step, C * H * W. */
  readonly outputs: number;
  /** Labels of the C output channels. */
  readonly labels: string[];
  /** Values of the graph: the input and the output of every node; the shape of a vector is [C, 1, 1]. */
  readonly values: { name: string; shape: [number, number, number] }[];
  /** The graph in the file, as described in docs/contributing/model_format.md. */
  readonly graph: Record<string, unknown>;
  /** Normalises per channel: (raw / 255 - mean) / std for images, (raw - mean) / std for other inputs. */
  normalise(raw: Float32Array): Float32Array;
  /** Logits [steps][batch][outputs] for x [1 or steps][batch][C][H][W]; a single frame runs `timeSteps` steps by default. */
  run(x: Float32Array, options?: { batch?: number; steps?: number }): Float32Array;
  /** Runs the network and also returns the values with these names, [steps][batch][C][H][W]. */
  runValues(
    x: Float32Array,
    names: string[],
    options?: { batch?: number; steps?: number },
  ): { logits: Float32Array; values: Map<string, Float32Array> };
  /**
   * Runs one input x [1 or steps][C][H][W] until its class reaches `confidence`, by default the file's. Returns the logits
   * that decide the class, and the number of steps that ran.
   */
  runUntilSure(x: Float32Array, options?: { steps?: number; confidence?: number }): { logits: Float32Array; steps: number };
  /** Opens a sequence that continues from call to call. */
  stream(): Stream;
  close(): void;
}

export interface Stream {
  /** Number of steps run; -1 if the state is lost. */
  readonly steps: number;
  /** Returns logits [steps][outputs] for the next frames [steps][C][H][W]. */
  run(x: Float32Array): Float32Array;
  reset(): void;
  /** Returns the state as bytes in the format of hdlif.h; any stream of the same model file can load them. */
  save(): Uint8Array;
  load(state: BufferSource): void;
  close(): void;
}

export interface Learner {
  /** Same as in `Network`. */
  readonly frameSize: number;
  readonly outputs: number;
  readonly timeSteps: number;
  /**
   * Runs a step on frames [batch][C][H][W] and returns logits [batch][outputs]. Step t = 0 begins a sequence. With
   * `targets`, one class per frame, the step also adds its gradients.
   */
  step(x: Float32Array, t: number, targets?: number[] | null): Float32Array;
  /** Updates the weights with the mean gradient since the last update. */
  update(): void;
  /** The network with its current weights, independent of the learner. */
  network(): Network;
  close(): void;
}
