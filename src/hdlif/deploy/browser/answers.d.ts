/** Answers of networks that find boxes, or that classify pixels or number objects, in pixels of a picture. */

import type { Network } from "./hdlif.js";

/**
 * Left, top, right and bottom of what a network's input covers, in pixels of a picture; a letterbox covers more than the
 * picture. Sizes are [width, height]; `fit` is that of `network.graph.input`, "squash" by default.
 */
export function coveredPart(
  size: [number, number],
  target: [number, number],
  fit: "squash" | "crop" | "letterbox",
): [number, number, number, number];

export type Answer =
  /** The highest score first; a box is left, top, right and bottom. */
  | { boxes: { label: string; score: number; box: [number, number, number, number] }[] }
  /** How many pixels have each label; the class of each pixel, row by row, or 255 where the network saw none. */
  | { pixels: Record<string, number>; mask: Uint8Array }
  /** How many objects there are; the number of the object at each pixel, row by row, from 1, or 0. */
  | { objects: number; mask: Uint16Array };

/**
 * The answer of outputs [steps][outputs], all that `network.run` gives, for a picture of `size` [width, height]; by default
 * in pixels of the network's input. Null for networks of other tasks.
 */
export function answerOf(network: Network, outputs: Float32Array, size?: [number, number] | null): Answer | null;
