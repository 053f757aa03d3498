// What the config's test pipeline does to a photograph: sizes as mmcv computes them, and OpenCV's
// bilinear interpolation in fixed point, byte for byte. Canvas interpolates otherwise, which
// changes up to a tenth of a mask's pixels.

/** The size of an image after one step of the pipeline; see resizing_steps() in Python. */
export function sizeAfter({width, height}, step) {
  if (step.divisor) {
    return {width: multiple(width, step.divisor), height: multiple(height, step.divisor)};
  }
  const [first, second] = step.scale;
  if (!step.keepRatio) return {width: first, height: second};
  const factor = Math.min(
    Math.max(first, second) / Math.max(height, width),
    Math.min(first, second) / Math.min(height, width),
  );
  return {width: Math.floor(width * factor + 0.5), height: Math.floor(height * factor + 0.5)};
}

/** The size that the network sees, without padding. */
export function sizeSeen(size, steps) {
  return steps.reduce(sizeAfter, size);
}

/**
 * Prepare a photograph.
 *
 * @param {{data: Uint8Array, width: number, height: number}} photo RGBA.
 * @param about Steps and padding of about.json.
 * @returns {{pixels: {data, width, height}, seen: {width, height}}} The network's input, with
 *   alpha 0 where it is padded on the right and below, and the size without padding.
 */
export function prepare(photo, about) {
  let pixels = {...photo, data: opaque(photo.data)};
  for (const step of about.steps) pixels = resize(pixels, sizeAfter(pixels, step));
  const seen = {width: pixels.width, height: pixels.height};
  return {pixels: pad(pixels, about.padding), seen};
}

/** OpenCV's resize() with INTER_LINEAR for bytes. */
export function resize({data, width, height}, size) {
  if (size.width === width && size.height === height) return {data, width, height};
  const across = positions(size.width, width, true);
  const down = positions(size.height, height, false);
  const length = 3 * size.width;
  const rows = [new Int32Array(length), new Int32Array(length)];
  const held = [-1, -1]; // which row of the photograph each holds
  const out = new Uint8ClampedArray(4 * size.width * size.height).fill(255);
  for (let y = 0, to = 0; y < size.height; y++) {
    const first = Math.min(Math.max(down.first[y], 0), height - 1);
    const second = Math.min(Math.max(down.first[y] + 1, 0), height - 1);
    if (held[1] === first) {
      rows.reverse();
      held.reverse();
    }
    if (held[0] !== first) stretchRow(data, width, first, across, rows[0]);
    if (held[1] !== second) stretchRow(data, width, second, across, rows[1]);
    held[0] = first;
    held[1] = second;
    const upper = down.weight0[y];
    const lower = down.weight1[y];
    const [above, below] = rows;
    for (let x = 0; x < length; x += 3, to += 4) {
      for (let channel = 0; channel < 3; channel++) {
        const sum = ((upper * (above[x + channel] >> 4)) >> 16)
          + ((lower * (below[x + channel] >> 4)) >> 16);
        out[to + channel] = (sum + 2) >> 2;
      }
    }
  }
  return {data: out, ...size};
}

function stretchRow(data, width, y, {first, weight0, weight1}, row) {
  const start = 4 * width * y;
  for (let x = 0, to = 0; x < first.length; x++, to += 3) {
    const left = start + 4 * first[x];
    const right = first[x] + 1 < width ? left + 4 : left;
    const a = weight0[x];
    const b = weight1[x];
    row[to] = data[left] * a + data[right] * b;
    row[to + 1] = data[left + 1] * a + data[right + 1] * b;
    row[to + 2] = data[left + 2] * a + data[right + 2] * b;
  }
}

/** Where each pixel of a side lies between two of the old one; weights of 11 bits. */
function positions(count, before, clamped) {
  const scale = 1 / (count / before); // not before / count: OpenCV rounds twice
  const first = new Int32Array(count);
  const weight0 = new Int32Array(count);
  const weight1 = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const place = Math.fround((i + 0.5) * scale - 0.5);
    let index = Math.floor(place);
    let part = Math.fround(place - index);
    // Across, OpenCV clamps weights; down, it repeats the outer rows.
    if (clamped && index < 0) [index, part] = [0, 0];
    if (clamped && index >= before - 1) [index, part] = [before - 1, 0];
    first[i] = index;
    weight0[i] = roundToEven(Math.fround(1 - part) * 2048);
    weight1[i] = roundToEven(part * 2048);
  }
  return {first, weight0, weight1};
}

function roundToEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest === 0.5) return low % 2 ? low + 1 : low;
  return rest < 0.5 ? low : low + 1;
}

function pad({data, width, height}, rule) {
  if (!rule) return {data, width, height};
  const size = rule.divisor
    ? {width: multiple(width, rule.divisor), height: multiple(height, rule.divisor)}
    : {width: Math.max(width, rule.size[1]), height: Math.max(height, rule.size[0])};
  const out = new Uint8ClampedArray(4 * size.width * size.height);
  for (let y = 0; y < height; y++) {
    out.set(data.subarray(4 * width * y, 4 * width * (y + 1)), 4 * size.width * y);
  }
  return {data: out, ...size};
}

/** A copy without transparency: alpha 0 would mean padding. */
function opaque(data) {
  const out = data.slice();
  for (let i = 3; i < out.length; i += 4) out[i] = 255;
  return out;
}

function multiple(side, divisor) {
  return Math.ceil(side / divisor) * divisor;
}
