// Computes the predictions, operations and neurons that the page shows from the values that the runtime returns.

/** Returns a function that reads a model file's tensors by name: float32 as numbers, packed weights as bytes. */
function tensorsOf(bytes) {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return (name) => {
    const [begin, end] = header[name].data_offsets;
    const own = bytes.slice(8 + length + begin, 8 + length + end);
    return header[name].dtype === "F32" ? new Float32Array(own.buffer) : own;
  };
}

/** Elementwise operations into a Float32Array; storing a result rounds it once. */
const OPERATIONS = {
  add: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = a[i] + b[i]; },
  subtract: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = a[i] - b[i]; },
  multiply: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = a[i] * b[i]; },
  negative: (to, a) => { for (let i = 0; i < to.length; ++i) to[i] = -a[i]; },
  absolute: (to, a) => { for (let i = 0; i < to.length; ++i) to[i] = Math.abs(a[i]); },
  floor: (to, a) => { for (let i = 0; i < to.length; ++i) to[i] = Math.floor(a[i]); },
  minimum: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = b[i] < a[i] ? b[i] : a[i]; },
  maximum: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = b[i] > a[i] ? b[i] : a[i]; },
  greater: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = +(a[i] > b[i]); },
  greater_equal: (to, a, b) => { for (let i = 0; i < to.length; ++i) to[i] = +(a[i] >= b[i]); },
  step: (to, a) => { for (let i = 0; i < to.length; ++i) to[i] = +(a[i] >= 0); },
  select: (to, a, b, c) => { for (let i = 0; i < to.length; ++i) to[i] = a[i] !== 0 ? b[i] : c[i]; },
};

/** Returns the register that a neuron compares with its threshold, or null (hdlif.graph.equations.Program.decision). */
function comparedRegister({ operations, states, rows, spike }) {
  const first = 1 + states.length + rows.length;
  const at = (register) => (register < first ? null : operations[register - first]);
  const isZero = (register) => at(register)?.[0] === "constant" && at(register)[1] === 0;
  const waiting = [spike];
  const seen = new Set();
  while (waiting.length > 0) {
    const register = waiting.shift();
    const line = at(register);
    if (line === null || seen.has(register) || line[0] === "constant") continue;
    seen.add(register);
    const operands = line.slice(1);
    if (line[0] === "greater" || line[0] === "greater_equal") return operands[0];
    if (line[0] === "step" || operands.some(isZero)) {
      const difference = operands.map(at).find((other) => other?.[0] === "subtract");
      if (difference) return difference[1];
    }
    waiting.push(...operands);
  }
  return null;
}

/**
 * Recomputes the membrane of a layer, [steps][C][H][W], from its input current and its equation.
 * Operations run channel by channel, so the arrays stay in the cache.
 */
function membranes(node, tensor, current, [channels, height, width], steps) {
  const { operations, states, rows, after } = node.attributes;
  const pixels = height * width;
  const size = channels * pixels;
  const own = states.length + rows.length + 1;
  const registers = Array.from({ length: own + operations.length }, () => new Float32Array(pixels));
  const calls = [];
  operations.forEach(([name, ...operands], k) => {
    if (name === "constant") registers[own + k].fill(operands[0]);
    else calls.push([OPERATIONS[name], registers[own + k], ...operands.map((register) => registers[register])]);
  });
  const tables = rows.map((_, i) => {
    const { tensor: name, shape } = node.tensors[`row${i}`];
    return { values: tensor(name), rows: shape[0], columns: shape[1] };
  });
  const held = states.map(() => new Float32Array(pixels));
  const compared = comparedRegister(node.attributes);
  const shown = compared !== null ? registers[compared] : states.length > 0 ? held[0] : registers[0];
  const found = new Float32Array(steps * size);
  for (let channel = 0; channel < channels; ++channel) {
    for (const state of held) state.fill(0);
    for (let t = 0; t < steps; ++t) {
      const place = t * size + channel * pixels;
      registers[0].set(current.subarray(place, place + pixels));
      held.forEach((state, s) => registers[1 + s].set(state));
      tables.forEach((table, r) => {
        const row = Math.min(t, table.rows - 1) * table.columns;
        registers[1 + states.length + r].fill(table.values[row + (table.columns > 1 ? channel : 0)]);
      });
      for (const [operation, to, a, b, c] of calls) operation(to, a, b, c);
      after.forEach((register, s) => held[s].set(registers[register]));
      found.set(shown, place);
    }
  }
  return found;
}

/** Returns the number of kernel taps that use each entry along an axis. */
function meetings(size, out, kernel, stride, padding, dilation) {
  const counts = new Array(size).fill(0);
  for (let o = 0; o < out; ++o) {
    for (let k = 0; k < kernel; ++k) {
      const i = o * stride - padding + k * dilation;
      if (i >= 0 && i < size) ++counts[i];
    }
  }
  return counts;
}

/** Returns a weight layer's operations per step: `dense` for all inputs, `count(x, steps)` for nonzero inputs. */
function operationsOf(node, input, output) {
  const [channels, height, width] = input.shape;
  const [co, , kernelY = 1, kernelX = 1] = node.tensors.weight.shape;
  const { stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 } = node.attributes;
  const rows = meetings(height, output.shape[1], kernelY, stride[0], padding[0], dilation[0]);
  const columns = meetings(width, output.shape[2], kernelX, stride[1], padding[1], dilation[1]);
  const each = co / groups;
  const pairs = Float64Array.from({ length: height * width }, (_, p) => each * rows[Math.floor(p / width)] * columns[p % width]);
  const count = (x, steps) => Array.from({ length: steps }, (_, t) => {
    let counted = 0;
    for (let c = 0; c < channels; ++c) {
      const place = (t * channels + c) * pairs.length;
      for (let p = 0; p < pairs.length; ++p) if (x[place + p] !== 0) counted += pairs[p];
    }
    return counted;
  });
  return { input: input.name, dense: channels * pairs.reduce((a, b) => a + b), count };
}

/** Whether predictions have positions in the image; such networks have too many neurons to show. */
const isPlaced = (network) => ["detect", "segment", "instances"].includes(network.graph.task?.kind);
const shownNeurons = (network) =>
  network.graph.nodes.filter((n) => !isPlaced(network) && n.op === "program" && n.attributes.fires !== false);

/** Returns the class probabilities after each step. */
function probabilities(network, logits, steps) {
  const sums = new Float64Array(network.labels.length);
  const isLast = network.graph.task?.combine === "last";
  return Array.from({ length: steps }, (_, t) => {
    network.labels.forEach((_, i) => (sums[i] = (isLast ? 0 : sums[i]) + logits[t * network.outputs + i]));
    const powers = [...sums].map((sum) => Math.exp((sum - Math.max(...sums)) / (isLast ? 1 : t + 1)));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  });
}

/** Returns look(frame, steps), which runs one image and returns the results to show; membranes are computed on access. */
function looking(network, tensor) {
  const byName = new Map(network.values.map((value) => [value.name, value]));
  const neurons = shownNeurons(network);
  const layers = network.graph.nodes
    .filter((node) => node.op === "conv2d" || node.op === "linear")
    .map((node) => operationsOf(node, byName.get(node.inputs[0]), byName.get(node.name)));
  const dense = layers.reduce((sum, layer) => sum + layer.dense, 0);
  const wanted = [...new Set([...neurons.flatMap((n) => [n.name, n.inputs[0]]), ...layers.map((layer) => layer.input)])];
  return (frame, steps) => {
    const { logits, values } = network.runValues(frame, wanted, { steps });
    const work = new Array(steps).fill(0);
    for (const layer of layers) layer.count(values.get(layer.input), steps).forEach((count, t) => (work[t] += count));
    const drawn = neurons.map((node) => {
      const { shape } = byName.get(node.name);
      let found = null;
      return {
        name: node.name,
        shape,
        spikes: values.get(node.name),
        get membranes() {
          return (found ??= membranes(node, tensor, values.get(node.inputs[0]), shape, steps));
        },
      };
    });
    return { logits, said: isPlaced(network) ? [] : probabilities(network, logits, steps), work, dense, neurons: drawn };
  };
}
