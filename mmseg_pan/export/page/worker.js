// Runs the network beside the page, which would stand still otherwise.

import * as ort from './runtime/ort.wasm.min.js';
import {decode} from './decode.js';
import {countIds, labelsOf} from './labels.js';
import {encodeIds} from './png.js';
import {prepare, sizeSeen} from './prepare.js';

const WASM = 'runtime/ort-wasm-simd-threaded.wasm';
let about;
let session;

const ACTIONS = {start, segment};

self.onmessage = async ({data: {action, ...values}}) => {
  try {
    await ACTIONS[action](values);
  } catch (error) {
    const {key = 'failed', details = {}} = error;
    const reason = String(error?.message ?? error).slice(0, 200);
    self.postMessage({event: 'error', action, number: values.number, key, details: {...details, reason}});
  }
};

/** Load run time and network; tells how far that is. */
async function start(values) {
  about = values.about;
  const all = about.sizes[WASM] + about.sizes[about.network];
  let done = 0;
  const tell = (bytes) => {
    done += bytes;
    self.postMessage({event: 'loading', done, all});
  };
  const [wasm, network] = await Promise.all([
    fetchWhole(WASM, about.sizes[WASM], tell),
    fetchWhole(about.network, about.sizes[about.network], tell),
  ]);
  self.postMessage({event: 'starting'});
  ort.env.wasm.numThreads = values.threads;
  ort.env.wasm.wasmPaths = {mjs: new URL('runtime/ort-wasm-simd-threaded.js', import.meta.url).href};
  ort.env.wasm.wasmBinary = wasm;
  session = await ort.InferenceSession.create(network, {executionProviders: ['wasm']});
  // The first run is slower than others.
  await run({data: new Uint8Array(4 * 65 * 65).fill(255), width: 65, height: 65});
  self.postMessage({event: 'ready'});
}

/** Segment a photograph. */
async function segment({number, file}) {
  const started = performance.now();
  let photo;
  try {
    photo = await decode(file);
  } catch (error) {
    throw Object.assign(error, {key: 'undecodable'});
  }
  const {width, height} = photo;
  const expected = sizeSeen(photo, about.steps);
  if (Math.max(expected.width, expected.height) > about.longest) {
    const details = {...expected, longest: about.longest};
    throw Object.assign(new Error('too large'), {key: 'tooLarge', details});
  }
  const {pixels, seen} = prepare(photo, about);
  const {data, shape} = await run(pixels);
  const ids = labelsOf(data, shape, seen, {width, height}, about);
  const mask = await encodeIds(ids, width, height);
  const seconds = (performance.now() - started) / 1000;
  const counts = countIds(ids, about.classes.length);
  self.postMessage({event: 'segmented', number, ids, mask, counts, width, height, seconds}, [ids.buffer]);
}

async function run({data, width, height}) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  const pixels = new ort.Tensor('uint8', bytes, [1, height, width, 4]);
  const {logits} = await session.run({pixels});
  return {data: logits.data, shape: logits.dims.slice(1)};
}

async function fetchWhole(name, size, tell) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
  const bytes = new Uint8Array(size);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    if (at + value.length > size) throw new Error(`${name} is longer than ${size} bytes`);
    bytes.set(value, at);
    at += value.length;
    tell(value.length);
  }
  if (at < size) throw new Error(`${name} ends after ${at} of ${size} bytes`);
  return bytes;
}
