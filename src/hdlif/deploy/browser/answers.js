/* Predictions of boxes, pixel classes and objects, equal to those of hdlif.runtime.answers in Python. */

const [MOST_BOXES, MOST_PEAKS, LARGEST_LOG] = [100, 300, 10];
const NO_CLASS = 255;
const MOST_OBJECTS = 2 ** 16 - 1;
const LEAST_PIXELS = 4;
const LEVELS = [0.95, 0.8, 0.65, 0.5];

/**
 * Returns left, top, right and bottom of the area that the input covers, in pixels of an image. A letterbox covers more than
 * the image. Sizes are [width, height].
 */
export function coveredPart(size, target, fit) {
  if (fit === "crop") {
    const scale = Math.min(size[0] / target[0], size[1] / target[1]);
    const part = target.map((to, axis) => Math.min(size[axis], scale * to));
    const [left, top] = part.map((side, axis) => (size[axis] - side) / 2);
    return [left, top, left + part[0], top + part[1]];
  }
  const scale = Math.min(target[0] / size[0], target[1] / size[1]);
  const inner = fit === "letterbox" ? size.map((side, axis) => clamp(roundEven(side * scale), 1, target[axis])) : target;
  return [0, 0, ...size.map((side, axis) => (side * target[axis]) / inner[axis])];
}

/**
 * Returns the prediction for a network's outputs [steps][n] in an image of `size` [width, height], by default the input's:
 * {boxes: [{label, score, box: [left, top, right, bottom]}]}, {pixels: {label: count}, mask}, {objects, mask}, or null for
 * other tasks.
 */
export function answerOf({ graph, outputs: count }, outputs, size = null) {
  const { kind, combine = "mean" } = graph.task ?? {};
  if (!["detect", "segment", "instances"].includes(kind)) return null;
  const [, height, width] = graph.input.shape;
  const place = { target: [width, height], size: size ?? [width, height], fit: size === null ? "squash" : graph.input.fit };
  const values = combine === "mean" ? meanOver(outputs, count) : outputs.slice(outputs.length - count);
  if (kind === "detect") return { boxes: boxesOf(values, graph, place) };
  if (kind === "instances") return objectsOf(values, place);
  return classesOf(values, graph.labels, place);
}

function meanOver(outputs, count) {
  const sums = new Float32Array(count);
  for (let i = 0; i < outputs.length; ++i) sums[i % count] += outputs[i];
  return sums.map((sum) => sum / (outputs.length / count));
}

const clamp = (x, least, most) => Math.min(Math.max(x, least), most);
/** Rounds halves to even, as Python does. */
const roundEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Decodes a box where a score is the largest of its class in 3x3 places (hdlif.runtime.boxes.decode_boxes). */
function boxesOf(values, { task, labels, input }, { target, size, fit }) {
  const [, height, width] = input.shape;
  const least = Math.log(task.threshold / (1 - task.threshold));
  const found = [];
  let begin = 0;
  for (const stride of task.strides) {
    const [rows, columns] = [Math.ceil(height / stride), Math.ceil(width / stride)];
    const at = (channel, row, column) => values[begin + (channel * rows + row) * columns + column];
    const around = (channel, row, column) => {
      let most = -Infinity;
      for (let i = Math.max(0, row - 1); i < Math.min(rows, row + 2); ++i) {
        for (let j = Math.max(0, column - 1); j < Math.min(columns, column + 2); ++j) most = Math.max(most, at(channel, i, j));
      }
      return most;
    };
    for (let label = 0; label < labels.length; ++label) {
      for (let row = 0; row < rows; ++row) {
        for (let column = 0; column < columns; ++column) {
          const logit = at(label, row, column);
          if (!(logit >= least && logit === around(label, row, column))) continue;
          const reach = [0, 1, 2, 3].map((side) => stride * Math.exp(Math.min(at(labels.length + side, row, column), LARGEST_LOG)));
          const [x, y] = [stride * (column + 0.5), stride * (row + 0.5)];
          const box = [x - reach[0], y - reach[1], x + reach[2], y + reach[3]];
          found.push({ label, logit, box: box.map((side, k) => clamp(side, 0, [width, height][k % 2])) });
        }
      }
    }
    begin += (labels.length + 4) * rows * columns;
  }
  found.sort((a, b) => b.logit - a.logit);
  const kept = [];
  for (const one of found.slice(0, MOST_PEAKS)) {
    const [left, top, right, bottom] = one.box;
    const drops = (other) => other.label === one.label && overlap(other.box, one.box) >= task.overlap;
    if (right > left && bottom > top && !(task.overlap < 1 && kept.some(drops))) kept.push(one);
  }
  const [left, top, right, bottom] = coveredPart(size, target, fit);
  const scale = [(right - left) / width, (bottom - top) / height];
  return kept.slice(0, MOST_BOXES).map(({ label, logit, box }) => ({
    label: labels[label],
    score: 1 / (1 + Math.exp(-logit)),
    box: box.map((side, k) => clamp(side * scale[k % 2] + [left, top][k % 2], 0, size[k % 2])),
  }));
}

/** Intersection over union. */
function overlap(a, b) {
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  const sides = [0, 1].map((axis) => Math.max(0, Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis])));
  const shared = sides[0] * sides[1];
  return shared / Math.max(area(a) + area(b) - shared, 1e-12);
}

/** Returns the class of each pixel, which has the largest output. */
function classesOf(values, labels, place) {
  const pixels = values.length / labels.length;
  const classes = new Uint8Array(pixels);
  for (let p = 0; p < pixels; ++p) {
    for (let k = 1; k < labels.length; ++k) {
      if (values[k * pixels + p] > values[classes[p] * pixels + p]) classes[p] = k;
    }
  }
  const mask = toPicture(classes, place, NO_CLASS);
  const counts = new Array(labels.length).fill(0);
  for (const number of mask) if (number < labels.length) ++counts[number];
  return { pixels: Object.fromEntries(labels.map((label, k) => [label, counts[k]])), mask };
}

/** Numbers the objects from background, boundary and inside (hdlif.inputs.objects.objects_of). */
function objectsOf(values, place) {
  const [width, height] = place.target;
  const pixels = width * height;
  const inside = new Float64Array(pixels);
  const foreground = new Uint8Array(pixels);
  for (let p = 0; p < pixels; ++p) {
    const logits = [0, 1, 2].map((k) => values[k * pixels + p]);
    const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const total = powers[0] + powers[1] + powers[2];
    inside[p] = powers[2] / total;
    foreground[p] = +(powers[0] / total < 0.5);
  }
  let found = new Int32Array(pixels);
  const rest = (mask) => mask.map((there, p) => +(there && found[p] === 0));
  for (const level of LEVELS) {
    const above = foreground.map((there, p) => +(there && inside[p] > level));
    found = grown(found, above, width);
    found = withNew(found, large(components(rest(above), width), level === LEVELS.at(-1) ? 1 : LEAST_PIXELS));
  }
  found = grown(found, foreground, width);
  found = large(withNew(found, components(rest(foreground), width)), LEAST_PIXELS);
  // Small objects may have no pixel in a small image.
  const numbers = large(toPicture(found, place, 0), 1).map((number) => (number <= MOST_OBJECTS ? number : 0));
  return { objects: numbers.reduce((a, b) => Math.max(a, b), 0), mask: Uint16Array.from(numbers) };
}

function withNew(found, more) {
  const last = found.reduce((a, b) => Math.max(a, b), 0);
  return found.map((number, p) => (more[p] > 0 ? more[p] + last : number));
}

/** Keeps objects of at least `least` pixels and renumbers them. */
function large(numbers, least) {
  const counts = new Map();
  for (const number of numbers) counts.set(number, (counts.get(number) ?? 0) + 1);
  const kept = [...counts.keys()].filter((number) => number > 0 && counts.get(number) >= least).sort((a, b) => a - b);
  const anew = new Map(kept.map((number, place) => [number, place + 1]));
  return Int32Array.from(numbers, (number) => anew.get(number) ?? 0);
}

/** Numbers connected components from 1, in the order of their first pixels; neighbours share an edge. */
function components(mask, width) {
  const found = new Int32Array(mask.length);
  let last = 0;
  for (let first = 0; first < mask.length; ++first) {
    if (!mask[first] || found[first]) continue;
    found[first] = ++last;
    const waiting = [first];
    while (waiting.length > 0) {
      const p = waiting.pop();
      const column = p % width;
      const around = [p - width, p + width, ...(column > 0 ? [p - 1] : []), ...(column < width - 1 ? [p + 1] : [])];
      for (const q of around) {
        if (!mask[q] || found[q]) continue;
        found[q] = last;
        waiting.push(q);
      }
    }
  }
  return found;
}

/** Grows seeds over a mask to all eight neighbours per round; where two meet, the larger number wins. */
function grown(seeds, mask, width) {
  const height = mask.length / width;
  let labels = seeds;
  for (let changed = true; changed; ) {
    changed = false;
    const next = labels.slice();
    for (let p = 0; p < mask.length; ++p) {
      if (!mask[p] || labels[p]) continue;
      const [row, column] = [Math.floor(p / width), p % width];
      for (let i = Math.max(0, row - 1); i < Math.min(height, row + 2); ++i) {
        for (let j = Math.max(0, column - 1); j < Math.min(width, column + 2); ++j) next[p] = Math.max(next[p], labels[i * width + j]);
      }
      changed ||= next[p] > 0;
    }
    labels = next;
  }
  return labels;
}

/** Resamples a label map from the input's pixels to those of an image, at the pixel centres. */
function toPicture(labels, { target, size, fit }, outside) {
  const [left, top, right, bottom] = coveredPart(size, target, fit);
  const places = (count, side, start, end) =>
    Array.from({ length: count }, (_, i) => {
      const [from, to] = [(-start * side) / (end - start), ((count - start) * side) / (end - start)];
      return Math.floor(from + ((i + 0.5) * (to - from)) / count);
    });
  const [columns, rows] = [places(size[0], target[0], left, right), places(size[1], target[1], top, bottom)];
  const found = new labels.constructor(size[0] * size[1]);
  rows.forEach((row, i) => {
    columns.forEach((column, j) => {
      const isThere = row >= 0 && row < target[1] && column >= 0 && column < target[0];
      found[i * size[0] + j] = isThere ? labels[row * target[0] + column] : outside;
    });
  });
  return found;
}
