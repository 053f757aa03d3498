// A PNG of class ids: grey, 8 bits, or 16 where there are more than 256 classes. A canvas can only
// write colours.

/** @returns {Promise<Blob>} */
export async function encodeIds(ids, width, height) {
  const bytes = ids.BYTES_PER_ELEMENT;
  const stride = 1 + width * bytes;
  const lines = new Uint8Array(stride * height); // each line begins with its filter: 0, none
  for (let y = 0; y < height; y++) {
    const row = ids.subarray(y * width, (y + 1) * width);
    if (bytes === 1) {
      lines.set(row, y * stride + 1);
    } else {
      const view = new DataView(lines.buffer, y * stride + 1);
      row.forEach((id, x) => view.setUint16(2 * x, id));
    }
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8 * bytes);
  const packed = new Blob([lines]).stream().pipeThrough(new CompressionStream('deflate'));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const mark = new TextEncoder().encode('Comment\0written by mmseg_pan');
  return new Blob([
    new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('tEXt', mark),
    chunk('IDAT', data),
    chunk('IEND', new Uint8Array(0)),
  ], {type: 'image/png'});
}

function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

const TABLE = Uint32Array.from({length: 256}, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
