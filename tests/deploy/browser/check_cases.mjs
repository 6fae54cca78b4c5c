// Cases of tests/native/checks/write_cases.py, by the WebAssembly module: node check_cases.mjs HDLIF_JS WASM FOLDER...
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [script, wasm, ...folders] = process.argv.slice(2);
const { HdlifError, instantiate } = await import(pathToFileURL(script).href);
const runtime = await instantiate(readFileSync(wasm));

function floats(path) {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Equal bits; which NaN it is is no property of the arithmetic. */
function same(found, expected, what) {
  assert.equal(found.length, expected.length, what);
  const [a, b] = [found, expected].map((x) => new Uint32Array(x.buffer, x.byteOffset, x.length));
  for (let i = 0; i < found.length; ++i) {
    const isNumber = found[i] === found[i] || expected[i] === expected[i];
    assert.ok(!isNumber || a[i] === b[i], `${what}: entry ${i} is ${found[i]}, not ${expected[i]}`);
  }
}

function refused(call, status) {
  assert.throws(call, (error) => error instanceof HdlifError && error.status === status && error.message.length > 0);
}

for (const folder of folders) {
  const artefact = readFileSync(`${folder}/artefact`);
  const [xSteps, batch, steps] = readFileSync(`${folder}/sizes`, "utf8").trim().split(" ").map(Number);
  const x = floats(`${folder}/x`);
  const logits = floats(`${folder}/logits`);
  const network = runtime.open(artefact);
  assert.equal(logits.length, steps * batch * network.outputs);
  assert.equal(network.outputs, network.outputShape.reduce((a, b) => a * b));
  assert.deepEqual(network.labels, network.graph.labels);
  same(network.run(x, { batch, steps }), logits, `${folder}: run`);
  const name = network.graph.output;
  const kept = network.runValues(x, [name], { batch, steps });
  same(kept.logits, logits, `${folder}: with values`);
  same(kept.values.get(name), logits, `${folder}: the output's value`);
  if (xSteps === steps) {
    const size = network.frameSize;
    const own = new Float32Array(steps * size);
    for (let t = 0; t < steps; ++t) own.set(x.subarray(t * batch * size, (t * batch + 1) * size), t * size);
    const expected = (t) => logits.subarray(t * batch * network.outputs).subarray(0, network.outputs);
    const first = network.stream();
    for (let t = 0; t < 2; ++t) same(first.run(own.slice(t * size, (t + 1) * size)), expected(t), `${folder}: step`);
    const state = first.save();
    const second = network.stream();
    second.run(own.slice(0, size));
    second.load(state);
    assert.equal(second.steps, 2);
    const rest = second.run(own.slice(2 * size));
    for (let t = 2; t < steps; ++t) {
      same(rest.subarray((t - 2) * network.outputs, (t - 1) * network.outputs), expected(t), folder);
    }
    refused(() => second.load(state.slice(1)), 4);
    second.reset();
    assert.equal(second.steps, 0);
    first.close();
    second.close();
  }
  refused(() => network.run(x.subarray(1), { batch, steps }), 1);
  const frame = x.subarray(0, network.frameSize);
  for (const count of [0, -1, 1.5, NaN, Infinity]) refused(() => network.run(frame, { steps: count }), 1);
  for (const count of [0, -1, 0.5]) refused(() => network.run(frame, { batch: count }), 1);
  // As many logits as take 2^32 bytes and a few more: modulo 2^32, a few.
  const many = Math.ceil(2 ** 30 / network.outputs);
  refused(() => network.run(frame, { steps: many }), 6);
  refused(() => network.runValues(frame, [name], { steps: many }), 6);
  same(network.run(x, { batch, steps }), logits, `${folder}: run again`);
  network.close();
  refused(() => network.run(x, { batch, steps }), 1);
  refused(() => runtime.open(artefact.subarray(0, artefact.length - 1)), 3);
  refused(() => runtime.open(artefact, { maxOperations: 1 }), 5);
}
console.log(`${folders.length} cases`);
