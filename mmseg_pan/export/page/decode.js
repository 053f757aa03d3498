// The pixels of an image file as they are stored, as OpenCV reads them: upright, and without its
// colour profile applied.

const STRIP = 1 << 22; // pixels; some browsers allow canvases of 16 million only

/** @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>} RGBA. */
export async function decode(file) {
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: 'none', premultiplyAlpha: 'none', imageOrientation: 'from-image',
  });
  const {width, height} = bitmap;
  const data = new Uint8ClampedArray(4 * width * height);
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    data.set(context.getImageData(0, 0, width, count).data, 4 * width * top);
  }
  bitmap.close();
  return {data, width, height};
}
