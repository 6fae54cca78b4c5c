// Copies the browser files of the Python package before packing.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const from = (name) => new URL(`../../src/hdlif/deploy/browser/${name}`, import.meta.url);
const to = (name) => new URL(name, import.meta.url);

for (const name of ["hdlif.js", "hdlif.d.ts", "answers.js", "answers.d.ts"]) copyFileSync(from(name), to(name));
writeFileSync(to("hdlif.wasm"), gunzipSync(readFileSync(from("hdlif.wasm.gz"))));
