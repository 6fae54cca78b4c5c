// Runs the network on the drawing, and shows its neurons step by step.

/** Returns the colour of a number in a mask, as in hdlif.runtime.masks.COLOURS. */
function colourOf(number) {
  const index = number > 0 ? ((number - 1) % 255) + 1 : 0;
  const channel = (c) => [0, 1, 2, 3, 4, 5, 6, 7].reduce((sum, bit) => sum | (((index >> (3 * bit + c)) & 1) << (7 - bit)), 0);
  return [0, 1, 2].map(channel);
}

const INKS = ["rgb(0 90 160)", "rgb(200 80 0)", "rgb(0 130 60)", "rgb(150 60 150)"];

/** Draws boxes or a mask over an image; each input pixel takes `scale` x `scale` canvas pixels. */
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

/** Returns the result lines of a prediction: label, fraction and text. */
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

/** Resizes a canvas to show [C][H][W] numbers with channels side by side, and returns the channels per row. */
function fitMaps(canvas, [channels, height, width]) {
  const across = Math.ceil(Math.sqrt((channels * height) / width));
  canvas.width = across * (width + 1) - 1;
  canvas.height = Math.ceil(channels / across) * (height + 1) - 1;
  return across;
}

/** Colours for 0, the largest number and its negative. */
const [DARK, WARM, COOL] = [[24, 26, 30], [255, 176, 66], [86, 180, 233]];

/** Draws [C][H][W] numbers. */
function drawMaps(canvas, numbers, shape, largest) {
  const [channels, height, width] = shape;
  const across = fitMaps(canvas, shape);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let c = 0; c < channels; ++c) {
    const corner = Math.floor(c / across) * (height + 1) * canvas.width + (c % across) * (width + 1);
    for (let p = 0; p < height * width; ++p) {
      const number = numbers[c * height * width + p] / (largest || 1);
      const colour = number < 0 ? COOL : WARM;
      const share = Math.min(1, Math.abs(number));
      const place = 4 * (corner + Math.floor(p / width) * canvas.width + (p % width));
      for (let k = 0; k < 3; ++k) image.data[place + k] = DARK[k] + (colour[k] - DARK[k]) * share;
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

/** Draws pixels 0..255 [C][H][W]. */
function drawPixels(canvas, raw, [channels, height, width]) {
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  image.data.forEach((_, i) => {
    const channel = channels === 3 ? i % 4 : 0;
    image.data[i] = i % 4 === 3 ? 255 : raw[channel * height * width + Math.floor(i / 4)];
  });
  context.putImageData(image, 0, 0);
}

/** Returns the largest absolute value. */
function largestOf(numbers) {
  let largest = 0;
  for (let i = 0; i < numbers.length; ++i) largest = Math.max(largest, Math.abs(numbers[i]));
  return largest;
}

async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Adapts to being in a frame: shows only drawing and prediction, posts the height, and follows the palette. */
function beFramed() {
  const root = document.documentElement;
  root.classList.add("framed");
  new ResizeObserver(() => parent.postMessage({ liveHeight: document.body.offsetHeight }, "*")).observe(document.body);
  const ofScheme = [...document.styleSheets[0].cssRules].find((rule) => rule.conditionText?.includes("prefers-color-scheme"));
  addEventListener("message", ({ source, data }) => {
    if (source !== parent || !["light", "dark"].includes(data?.liveScheme)) return;
    root.style.colorScheme = data.liveScheme;
    ofScheme.media.mediaText = data.liveScheme === "dark" ? "all" : "not all";
  });
}

async function start() {
  if (window.top !== window) beFramed();
  const artefact = await unpacked("artefact");
  const runtime = await instantiate(await unpacked("module"));
  let network = runtime.open(artefact);
  let look = looking(network, tensorsOf(artefact));
  const [channels, height, width] = network.inputShape;
  const steps = network.timeSteps;
  const find = (id) => document.getElementById(id);
  const pad = find("pad");
  const context = pad.getContext("2d", { willReadFrequently: true });
  let result = null;
  let timer = null;
  let isPrepared = false;

  const clear = (colour = "black") => {
    context.fillStyle = colour;
    context.fillRect(0, 0, pad.width, pad.height);
  };

  /** Returns the pad as pixels 0..255 [C][H][W], each the mean of its area. */
  const pixels = () => {
    const { data } = context.getImageData(0, 0, pad.width, pad.height);
    const raw = new Float32Array(channels * height * width);
    const [columns, rows] = [[width, pad.width], [height, pad.height]].map(([count, size]) =>
      Array.from({ length: count + 1 }, (_, i) => Math.round((i * size) / count)),
    );
    for (let y = 0; y < height; ++y) {
      for (let x = 0; x < width; ++x) {
        let [red, green, blue] = [0, 0, 0];
        for (let j = rows[y]; j < rows[y + 1]; ++j) {
          for (let at = 4 * (j * pad.width + columns[x]); at < 4 * (j * pad.width + columns[x + 1]); at += 4) {
            red += data[at];
            green += data[at + 1];
            blue += data[at + 2];
          }
        }
        const area = (rows[y + 1] - rows[y]) * (columns[x + 1] - columns[x]);
        const colours = [red, green, blue].map((sum) => Math.round(sum / area));
        const grey = Math.round((299 * colours[0] + 587 * colours[1] + 114 * colours[2]) / 1000);
        for (let c = 0; c < channels; ++c) {
          raw[(c * height + y) * width + x] = channels === 1 ? grey : colours[c];
        }
      }
    }
    return raw;
  };

  const figures = shownNeurons(network).map((node) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.append(`${node.name} (${node.attributes.kind}): `, document.createElement("output"));
    const { shape } = network.values.find((value) => value.name === node.name);
    for (const what of ["spikes", "membranes"]) {
      const canvas = document.createElement("canvas");
      canvas.role = "img";
      canvas.ariaLabel = canvas.title = `${what} of ${node.name}`;
      fitMaps(canvas, shape);
      figure.append(canvas);
    }
    figure.append(caption);
    find("layers").append(figure);
    return figure;
  });

  /** Draws the neurons of a layer at the selected step. */
  const drawLayer = (figure) => {
    const layer = result.neurons[figures.indexOf(figure)];
    const size = layer.spikes.length / steps;
    const step = Number(find("step").value);
    const part = (all) => all.subarray(step * size, (step + 1) * size);
    layer.largest ??= [layer.spikes, layer.membranes].map(largestOf);
    const [spikes, membrane] = figure.querySelectorAll("canvas");
    drawMaps(spikes, part(layer.spikes), layer.shape, layer.largest[0]);
    drawMaps(membrane, part(layer.membranes), layer.shape, layer.largest[1]);
    let firing = 0;
    part(layer.spikes).forEach((v) => (firing += v !== 0));
    figure.querySelector("output").textContent = `${firing} of ${size} fire`;
  };

  // The equation of a layer is computed only while its neurons are visible.
  const visible = new Set();
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) drawLayer(target);
        visible[isIntersecting ? "add" : "delete"](target);
      }
    },
    { rootMargin: "20%" },
  );
  addEventListener("beforeprint", () => figures.forEach(drawLayer));

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
    if (find("classes").children.length !== lines.length) {
      find("classes").replaceChildren(...lines.map(([label]) => {
        const item = document.createElement("li");
        item.append(...["span", "i", "b"].map((tag) => document.createElement(tag)));
        item.firstChild.textContent = label;
        return item;
      }));
    }
    lines.forEach(([, share, text], i) => {
      const item = find("classes").children[i];
      item.lastChild.textContent = text;
      item.style.setProperty("--share", share);
      item.classList.toggle("best", !isPlaced(network) && share === most);
    });
    const done = result.work.slice(0, step + 1).reduce((a, b) => a + b);
    const dense = result.dense * (step + 1);
    find("operations").textContent =
      `${done.toLocaleString("en")} of ${dense.toLocaleString("en")} (${((100 * done) / (dense || 1)).toFixed(1)} %)`;
    find("share").value = done / (dense || 1);
    visible.forEach(drawLayer);
  };

  const run = () => {
    const raw = pixels();
    result = look(network.normalise(raw), steps);
    // for tests and the console
    window.hdlif = { network, raw, result };
    drawPixels(find("seen"), raw, network.inputShape);
    clearInterval(timer);
    timer = null;
    show(steps - 1);
  };

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
  };
  /** Runs the network once before the next frame, however many events arrive. */
  let isWaiting = false;
  const runSoon = () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      run();
    });
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    if (isPrepared) clear();
    isPrepared = false;
    last = place(event);
    stroke(last);
    runSoon();
  });
  pad.addEventListener("pointermove", (event) => {
    if (last === null) return;
    // The browser merges all moves since the last frame into one event.
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length > 0 ? moves : [event]) stroke(place(move));
    runSoon();
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
      find("message").textContent = `${file.name} is not an image that this browser can read; give a PNG or a JPEG`;
    }
  };
  find("file").addEventListener("change", (event) => event.target.files.length && take(event.target.files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  clear();
  const prepared = JSON.parse(pad.dataset.stroke).map(([x, y]) => [x * pad.width, y * pad.height]);
  if (prepared.length > 0) {
    isPrepared = true;
    [last] = prepared;
    prepared.forEach(stroke);
    last = null;
  }
  /** Runs another network with the same layers from now on; the next stroke clears the pad. */
  const use = (other, labels) => {
    if (other !== network) {
      network.close();
      isPrepared = true;
    }
    network = other;
    network.labels = labels;
    look = looking(network, tensorsOf(artefact));
    run();
  };
  if (find("learn")) await teach(runtime, artefact, network, pixels, use);
  else run();
  figures.forEach((figure) => seen.observe(figure));
}

start().catch((error) => (document.getElementById("message").textContent = String(error.message ?? error)));
