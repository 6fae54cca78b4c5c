// Runs the network on the drawing, and shows its neurons step by step.

/** The tensors of an artefact by name: float32 as numbers, packed weights as stored. */
function tensorsOf(bytes) {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return (name) => {
    const [begin, end] = header[name].data_offsets;
    const own = bytes.slice(8 + length + begin, 8 + length + end);
    return header[name].dtype === "F32" ? new Float32Array(own.buffer) : own;
  };
}

const OPERATIONS = {
  add: (a, b) => Math.fround(a + b),
  subtract: (a, b) => Math.fround(a - b),
  multiply: (a, b) => Math.fround(a * b),
  negative: (a) => -a,
  absolute: Math.abs,
  floor: Math.floor,
  minimum: (a, b) => (b < a ? b : a),
  maximum: (a, b) => (b > a ? b : a),
  greater: (a, b) => +(a > b),
  greater_equal: (a, b) => +(a >= b),
  step: (a) => +(a >= 0),
  select: (a, b, c) => (a !== 0 ? b : c),
};

/** The register that a neuron compares with its threshold, as hdlif.graph.equations.Program.decision finds it; or null. */
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

/** The membrane of a layer, [steps][C][H][W], from what enters it: its equation, computed again. */
function membranes(node, tensor, current, [channels, height, width], steps) {
  const { operations, states, rows, after } = node.attributes;
  const first = 1 + states.length + rows.length;
  const pixels = height * width;
  const size = channels * pixels;
  const compared = comparedRegister(node.attributes);
  const tables = rows.map((_, i) => {
    const { tensor: name, shape } = node.tensors[`row${i}`];
    return { values: tensor(name), rows: shape[0], columns: shape[1] };
  });
  const held = states.map(() => new Float32Array(size));
  const found = new Float32Array(steps * size);
  const registers = new Array(first + operations.length);
  for (let t = 0; t < steps; ++t) {
    for (let i = 0; i < size; ++i) {
      const channel = Math.floor(i / pixels);
      registers[0] = current[t * size + i];
      states.forEach((_, s) => (registers[1 + s] = held[s][i]));
      tables.forEach((table, r) => {
        const row = Math.min(t, table.rows - 1) * table.columns;
        registers[1 + states.length + r] = table.values[row + (table.columns > 1 ? channel : 0)];
      });
      operations.forEach(([name, ...operands], k) => {
        registers[first + k] =
          name === "constant" ? Math.fround(operands[0]) : OPERATIONS[name](...operands.map((o) => registers[o]));
      });
      after.forEach((register, s) => (held[s][i] = registers[register]));
      found[t * size + i] = compared !== null ? registers[compared] : states.length > 0 ? held[0][i] : registers[0];
    }
  }
  return found;
}

/** The number of kernel taps that meet each entry along an axis. */
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

/** Operations of a layer of weights: [of inputs that are not 0 at each step, of all inputs at one]. */
function operationsOf(node, input, output, x, steps) {
  const [channels, height, width] = input.shape;
  const [co, , kernelY = 1, kernelX = 1] = node.tensors.weight.shape;
  const { stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 } = node.attributes;
  const rows = meetings(height, output.shape[1], kernelY, stride[0], padding[0], dilation[0]);
  const columns = meetings(width, output.shape[2], kernelX, stride[1], padding[1], dilation[1]);
  const pixels = height * width;
  const each = co / groups;
  const counted = new Array(steps).fill(0);
  let dense = 0;
  for (let i = 0; i < channels * pixels; ++i) {
    const pairs = each * rows[Math.floor((i % pixels) / width)] * columns[i % width];
    dense += pairs;
    for (let t = 0; t < steps; ++t) if (x[t * channels * pixels + i] !== 0) counted[t] += pairs;
  }
  return [counted, dense];
}

/** Whether answers are at places of the picture; such networks have too many neurons to show each. */
const isPlaced = (network) => ["detect", "segment", "instances"].includes(network.graph.task?.kind);
const shownNeurons = (network) =>
  network.graph.nodes.filter((n) => !isPlaced(network) && n.op === "program" && n.attributes.fires !== false);

/** The result of a run on one picture, as the page shows it. */
function look(network, tensor, frame, steps) {
  const byName = new Map(network.values.map((value) => [value.name, value]));
  const { nodes } = network.graph;
  const neurons = shownNeurons(network);
  const layers = nodes.filter((node) => node.op === "conv2d" || node.op === "linear");
  const wanted = new Set([...neurons.flatMap((n) => [n.name, n.inputs[0]]), ...layers.map((n) => n.inputs[0])]);
  const { logits, values } = network.runValues(frame, [...wanted], { steps });
  const said = [];
  const sums = new Float64Array(network.labels.length);
  const isLast = network.graph.task?.combine === "last";
  for (let t = 0; t < steps && !isPlaced(network); ++t) {
    network.labels.forEach((_, i) => (sums[i] = (isLast ? 0 : sums[i]) + logits[t * sums.length + i]));
    const powers = [...sums].map((sum) => Math.exp((sum - Math.max(...sums)) / (isLast ? 1 : t + 1)));
    const total = powers.reduce((a, b) => a + b);
    said.push(powers.map((power) => power / total));
  }
  const work = new Array(steps).fill(0);
  let dense = 0;
  for (const node of layers) {
    const [counted, all] = operationsOf(
      node, byName.get(node.inputs[0]), byName.get(node.name), values.get(node.inputs[0]), steps);
    counted.forEach((count, t) => (work[t] += count));
    dense += all;
  }
  const drawn = neurons.map((node) => ({
    name: node.name,
    kind: node.attributes.kind,
    shape: byName.get(node.name).shape,
    spikes: values.get(node.name),
    membranes: membranes(node, tensor, values.get(node.inputs[0]), byName.get(node.name).shape, steps),
  }));
  return { logits, said, work, dense, neurons: drawn };
}

/** The colours of numbers in masks: those of hdlif.runtime.masks.COLOURS. */
function colourOf(number) {
  const index = number > 0 ? ((number - 1) % 255) + 1 : 0;
  const channel = (c) => [0, 1, 2, 3, 4, 5, 6, 7].reduce((sum, bit) => sum | (((index >> (3 * bit + c)) & 1) << (7 - bit)), 0);
  return [0, 1, 2].map(channel);
}

const INKS = ["rgb(0 90 160)", "rgb(200 80 0)", "rgb(0 130 60)", "rgb(150 60 150)"];

/** Draws boxes or a mask, in pixels of the input, over a picture on which each of these has `scale` pixels. */
function drawAnswer(canvas, answer, labels, width, scale) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const { label, score, box } of [...(answer.boxes ?? [])].reverse()) {
    const [left, top, right, bottom] = box.map((side) => side * scale);
    context.strokeStyle = context.fillStyle = INKS[labels.indexOf(label) % INKS.length];
    context.lineWidth = 2;
    context.strokeRect(left, top, right - left, bottom - top);
    context.font = "12px sans-serif";
    context.fillText(`${label} ${score.toFixed(2)}`, left, top > 14 ? top - 3 : top + 13);
  }
  answer.mask?.forEach((number, p) => {
    if (number === 0) return;
    context.fillStyle = `rgb(${colourOf(number).join(" ")} / 50%)`;
    context.fillRect((p % width) * scale, Math.floor(p / width) * scale, scale, scale);
  });
}

/** The lines that count an answer: label, fraction of all, and text. */
function linesOf(answer, labels) {
  if (answer.boxes) {
    const counts = labels.map((label) => answer.boxes.filter((box) => box.label === label).length);
    return labels.map((label, k) => [label, counts[k] / (answer.boxes.length || 1), String(counts[k])]);
  }
  if (answer.pixels) {
    const shares = labels.map((label) => answer.pixels[label] / answer.mask.length);
    return labels.map((label, k) => [label, shares[k], `${(100 * shares[k]).toFixed(1)} %`]);
  }
  return [["objects", 0, String(answer.objects)]];
}

/** Draws [C][H][W] numbers, channels side by side. */
function drawMaps(canvas, numbers, [channels, height, width], largest, colour) {
  const across = Math.ceil(Math.sqrt((channels * height) / width));
  const down = Math.ceil(channels / across);
  canvas.width = across * (width + 1) - 1;
  canvas.height = down * (height + 1) - 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let c = 0; c < channels; ++c) {
    for (let p = 0; p < height * width; ++p) {
      const x = (c % across) * (width + 1) + (p % width);
      const y = Math.floor(c / across) * (height + 1) + Math.floor(p / width);
      image.data.set(colour(numbers[c * height * width + p] / (largest || 1)), 4 * (y * canvas.width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

const shade = (from, to, share) => from.map((v, i) => v + (to[i] - v) * share);
const [DARK, WARM, COOL] = [[24, 26, 30, 255], [255, 176, 66, 255], [86, 180, 233, 255]];
const spikeColour = (v) => shade(DARK, WARM, Math.min(1, v));
const membraneColour = (v) => shade(DARK, v < 0 ? COOL : WARM, Math.min(1, Math.abs(v)));

async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function start() {
  const artefact = await unpacked("artefact");
  const runtime = await instantiate(await unpacked("module"));
  const network = runtime.open(artefact);
  const tensor = tensorsOf(artefact);
  const [channels, height, width] = network.inputShape;
  const steps = network.timeSteps;
  const find = (id) => document.getElementById(id);
  const pad = find("pad");
  const context = pad.getContext("2d", { willReadFrequently: true });
  let result = null;
  let timer = null;

  const clear = (colour = "black") => {
    context.fillStyle = colour;
    context.fillRect(0, 0, pad.width, pad.height);
  };

  /** The pad as pixels 0..255 [C][H][W]: each the mean of its part. */
  const pixels = () => {
    const { data } = context.getImageData(0, 0, pad.width, pad.height);
    const raw = new Float32Array(channels * height * width);
    for (let y = 0; y < height; ++y) {
      for (let x = 0; x < width; ++x) {
        const [x0, x1] = [x, x + 1].map((v) => Math.round((v * pad.width) / width));
        const [y0, y1] = [y, y + 1].map((v) => Math.round((v * pad.height) / height));
        const sums = [0, 0, 0];
        for (let j = y0; j < y1; ++j) {
          for (let i = x0; i < x1; ++i) for (let c = 0; c < 3; ++c) sums[c] += data[4 * (j * pad.width + i) + c];
        }
        const colours = sums.map((sum) => Math.round(sum / ((x1 - x0) * (y1 - y0))));
        const grey = Math.round((299 * colours[0] + 587 * colours[1] + 114 * colours[2]) / 1000);
        for (let c = 0; c < channels; ++c) {
          raw[(c * height + y) * width + x] = channels === 1 ? grey : colours[c];
        }
      }
    }
    return raw;
  };

  const show = (step) => {
    find("step").value = step;
    find("step-text").textContent = `step ${step + 1} of ${steps}`;
    let lines = null;
    if (isPlaced(network)) {
      const answer = answerOf(network, result.logits.subarray(0, (step + 1) * network.outputs));
      window.hdlif.answer = answer;
      drawAnswer(find("over"), answer, network.labels, width, pad.width / width);
      lines = linesOf(answer, network.labels);
    } else {
      lines = network.labels.map((label, i) => [label, result.said[step][i], `${(100 * result.said[step][i]).toFixed(1)} %`]);
    }
    const most = Math.max(...lines.map(([, share]) => share));
    find("classes").replaceChildren(...lines.map(([label, share, text]) => {
      const item = document.createElement("li");
      item.append(Object.assign(document.createElement("span"), { textContent: label }));
      item.append(Object.assign(document.createElement("b"), { textContent: text }));
      item.style.setProperty("--share", share);
      item.classList.toggle("best", !isPlaced(network) && share === most);
      return item;
    }));
    const done = result.work.slice(0, step + 1).reduce((a, b) => a + b);
    const dense = result.dense * (step + 1);
    find("operations").textContent =
      `${done.toLocaleString("en")} of ${dense.toLocaleString("en")} (${((100 * done) / (dense || 1)).toFixed(1)} %)`;
    find("share").value = done / (dense || 1);
    result.neurons.forEach((layer, i) => {
      const size = layer.shape.reduce((a, b) => a * b);
      const [spikes, membrane] = find("layers").children[i].querySelectorAll("canvas");
      const part = (all) => all.subarray(step * size, (step + 1) * size);
      drawMaps(spikes, part(layer.spikes), layer.shape, layer.largestSpike, spikeColour);
      drawMaps(membrane, part(layer.membranes), layer.shape, layer.largestMembrane, membraneColour);
      const firing = part(layer.spikes).filter((v) => v !== 0).length;
      find("layers").children[i].querySelector("output").textContent = `${firing} of ${size} fire`;
    });
  };

  const run = () => {
    const raw = pixels();
    result = look(network, tensor, network.normalise(raw), steps);
    for (const layer of result.neurons) {
      layer.largestSpike = layer.spikes.reduce((a, b) => Math.max(a, b), 0);
      layer.largestMembrane = layer.membranes.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    }
    // for tests, and for the console
    window.hdlif = { network, raw, result };
    drawMaps(find("seen"), raw, [channels, height, width], 255, (v) => shade([0, 0, 0, 255], [255, 255, 255, 255], v));
    clearInterval(timer);
    timer = null;
    show(steps - 1);
  };

  for (const node of shownNeurons(network)) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.append(`${node.name} (${node.attributes.kind}): `, document.createElement("output"));
    for (const what of ["spikes", "membranes"]) {
      const canvas = document.createElement("canvas");
      canvas.role = "img";
      canvas.ariaLabel = canvas.title = `${what} of ${node.name}`;
      figure.append(canvas);
    }
    figure.append(caption);
    find("layers").append(figure);
  }

  let last = null;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
  };
  const stroke = (to) => {
    context.strokeStyle = "white";
    context.lineWidth = pad.width / Math.max(width, height) * 1.15;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...to);
    context.stroke();
    last = to;
    run();
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last);
  });
  pad.addEventListener("pointermove", (event) => {
    if (last !== null) stroke(place(event));
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => (last = null));
  find("clear").addEventListener("click", () => {
    clear();
    run();
  });
  find("step").addEventListener("input", (event) => show(Number(event.target.value)));
  find("play").addEventListener("click", () => {
    clearInterval(timer);
    let step = 0;
    show(step);
    timer = setInterval(() => (++step < steps ? show(step) : clearInterval(timer)), 600);
  });
  const take = async (file) => {
    try {
      const picture = await createImageBitmap(file);
      const part = coveredPart([picture.width, picture.height], [width, height], network.graph.input.fit);
      // Letterbox padding has the mean of each channel.
      const mean = network.graph.input.mean.map((value) => Math.min(Math.max(Math.floor(255 * value + 0.5), 0), 255));
      clear(`rgb(${(channels === 1 ? [mean[0], mean[0], mean[0]] : mean).join(" ")})`);
      context.drawImage(picture, part[0], part[1], part[2] - part[0], part[3] - part[1], 0, 0, pad.width, pad.height);
      find("message").textContent = "";
      run();
    } catch {
      find("message").textContent = `${file.name} is not a picture that this browser reads; give a PNG or a JPEG`;
    }
  };
  find("file").addEventListener("change", (event) => event.target.files.length && take(event.target.files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  clear();
  run();
}

start().catch((error) => (document.getElementById("message").textContent = String(error.message ?? error)));
