// Trains the network further on symbols that the reader draws and labels.

/** Updates per drawing; each uses the latest drawings and samples of the original classes. */
const UPDATES = 20;
const MOST_DRAWINGS = 40;

/** Calls use(network, labels) with the network at the start and after each drawing; `draw()` returns the pad's pixels. */
async function teach(runtime, artefact, network, draw, use) {
  const [symbol, button, said] = ["symbol", "learn", "learned"].map((id) => document.getElementById(id));
  const { spare, classes, ...trained } = JSON.parse(button.dataset.lesson);
  const samples = network.normalise(Float32Array.from(await unpacked("samples")));
  const learner = runtime.learner(artefact, trained);
  const labels = network.labels.slice(0, network.outputs - spare);
  const drawings = [];

  /** Trains on the samples and recent drawings, and returns the milliseconds per update. */
  const learn = async () => {
    const kept = drawings.slice(-MOST_DRAWINGS);
    const x = new Float32Array(samples.length + kept.length * learner.frameSize);
    x.set(samples);
    kept.forEach((one, k) => x.set(one.x, samples.length + k * learner.frameSize));
    const targets = [...classes, ...kept.map((one) => one.target)];
    let milliseconds = 0;
    for (let update = 0; update < UPDATES; ++update) {
      await new Promise((done) => setTimeout(done));
      const begin = performance.now();
      for (let t = 0; t < learner.timeSteps; ++t) learner.step(x, t, targets);
      learner.update();
      milliseconds += (performance.now() - begin) / UPDATES;
    }
    return milliseconds;
  };

  button.addEventListener("click", async () => {
    const name = symbol.value.trim();
    const isNew = !labels.includes(name);
    if (name === "" || (isNew && labels.length === learner.outputs)) {
      said.textContent = name === "" ? "Name the symbol first." : `There is no room for another class; name one of ${labels.join(", ")}.`;
      return;
    }
    if (isNew) labels.push(name);
    const target = labels.indexOf(name);
    drawings.push({ x: network.normalise(draw()), target });
    button.disabled = true;
    try {
      const milliseconds = await learn();
      const count = drawings.filter((one) => one.target === target).length;
      said.textContent = `Drawings of ${name}: ${count}. One update took ${milliseconds.toFixed(1)} ms.`;
    } catch (error) {
      said.textContent = error.message;
    }
    button.disabled = false;
    network = learner.network();
    use(network, labels);
  });
  use(network, labels);
}
