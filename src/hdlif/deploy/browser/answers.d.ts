/** Predictions of boxes, pixel classes and objects, in pixels of an image. */

import type { Network } from "./hdlif.js";

/**
 * Returns left, top, right and bottom of the area that a network's input covers, in pixels of an image. A letterbox covers
 * more than the image. Sizes are [width, height]; `fit` is `network.graph.input.fit`, "squash" by default.
 */
export function coveredPart(
  size: [number, number],
  target: [number, number],
  fit: "squash" | "crop" | "letterbox",
): [number, number, number, number];

export type Answer =
  /** Boxes with the highest score first; `box` is left, top, right and bottom. */
  | { boxes: { label: string; score: number; box: [number, number, number, number] }[] }
  /** Number of pixels per label, and the class of each pixel in row order; 255 outside the network's input. */
  | { pixels: Record<string, number>; mask: Uint8Array }
  /** Number of objects, and the object number (from 1) of each pixel in row order; 0 for background. */
  | { objects: number; mask: Uint16Array };

/**
 * Returns the prediction for outputs [steps][outputs] from `network.run`, in pixels of an image of `size` [width, height].
 * By default the pixels are those of the network's input. Returns null for other tasks.
 */
export function answerOf(network: Network, outputs: Float32Array, size?: [number, number] | null): Answer | null;
