// From the network's logits to class ids at the size of the photograph, as MMSegmentation does it:
// padding off, bilinear interpolation as torch's, the largest logit. In the network itself, all
// logits of a photograph of twelve megapixels would take a gigabyte.

/**
 * @param {Float32Array} logits (C, rows, columns).
 * @param {number[]} shape C, rows, columns.
 * @param {{width, height}} seen The part of rows and columns that is no padding.
 * @param {{width, height}} size The photograph's.
 * @param about alignCorners, limit (of a single channel) and classes of about.json.
 * @returns {Uint8Array|Uint16Array} Class ids, row by row.
 */
export function labelsOf(logits, [channels, rows, columns], seen, size, about) {
  const {width, height} = size;
  const across = places(width, seen.width, about.alignCorners);
  const down = places(height, seen.height, about.alignCorners);
  const Ids = about.classes.length > 256 ? Uint16Array : Uint8Array;
  const ids = new Ids(width * height);
  const line = new Float32Array(seen.width);
  const best = new Float32Array(width);
  for (let y = 0; y < height; y++) {
    const row = ids.subarray(y * width, (y + 1) * width);
    best.fill(about.limit ?? -Infinity);
    for (let channel = 0; channel < channels; channel++) {
      const base = channel * rows * columns;
      const above = base + down.first[y] * columns;
      const below = base + down.second[y] * columns;
      const part = down.part[y];
      for (let x = 0; x < seen.width; x++) {
        const value = logits[above + x];
        line[x] = value + part * (logits[below + x] - value);
      }
      const id = about.limit === null ? channel : 1;
      for (let x = 0; x < width; x++) {
        const value = line[across.first[x]];
        const found = value + across.part[x] * (line[across.second[x]] - value);
        if (found > best[x]) {
          best[x] = found;
          row[x] = id;
        }
      }
    }
  }
  return ids;
}

/** The pixels of each class. */
export function countIds(ids, classes) {
  const counts = new Array(classes).fill(0);
  for (const id of ids) counts[id]++;
  return counts;
}

function places(count, before, alignCorners) {
  const first = new Int32Array(count);
  const second = new Int32Array(count);
  const part = new Float32Array(count);
  const scale = alignCorners ? (count > 1 ? (before - 1) / (count - 1) : 0) : before / count;
  for (let i = 0; i < count; i++) {
    const place = alignCorners ? i * scale : Math.max((i + 0.5) * scale - 0.5, 0);
    first[i] = Math.min(Math.floor(place), before - 1);
    second[i] = Math.min(first[i] + 1, before - 1);
    part[i] = place - first[i];
  }
  return {first, second, part};
}
