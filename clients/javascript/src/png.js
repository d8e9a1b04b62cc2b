// Read the class ids of an indexed PNG. A canvas would give colours, which two classes may share, and which browsers
// that resist fingerprinting change.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const INDEXED = 3;

/** @typedef {{ width: number, height: number, ids: Uint8Array<ArrayBuffer> }} ClassMap ids row by row */

/**
 * Return the palette indices of an indexed PNG without interlacing. Throw an `Error` for any other file.
 * @param {Uint8Array<ArrayBuffer>} file
 * @returns {Promise<ClassMap>}
 */
export async function decodeIndexedPng(file) {
  if (SIGNATURE.some((byte, index) => file[index] !== byte)) throw new Error("This is no PNG");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, kind, interlaced] = [view.getUint8(24), view.getUint8(25), view.getUint8(28)];
  if (kind !== INDEXED || interlaced) throw new Error("This PNG is not indexed, or it is interlaced");
  const stride = Math.ceil((width * depth) / 8);
  const rows = await inflate(new Blob(dataOf(file, view)));
  if (rows.length !== (stride + 1) * height) throw new Error("This PNG has too few or too many bytes");
  const lines = unfilter(rows, stride, height);
  return { width, height, ids: depth === 8 ? lines : unpack(lines, stride, width, height, depth) };
}

/**
 * Return the contents of the chunks with pixels.
 * @param {Uint8Array<ArrayBuffer>} file
 * @param {DataView} view
 */
function dataOf(file, view) {
  const found = [];
  for (let at = SIGNATURE.length; at + 12 <= file.length; ) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) found.push(file.slice(at + 8, at + 8 + length)); // "IDAT"
    at += length + 12;
  }
  return found;
}

/** @param {Blob} data */
async function inflate(data) {
  return new Uint8Array(
    await new Response(data.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer(),
  );
}

/**
 * Undo the filters of the lines (PNG specification, section 9), for pixels of at most one byte.
 * @param {Uint8Array} rows a filter type and `stride` bytes for each line
 * @param {number} stride
 * @param {number} height
 */
function unfilter(rows, stride, height) {
  const lines = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)];
    const start = y * stride;
    for (let x = 0; x < stride; x++) {
      const raw = rows[y * (stride + 1) + 1 + x] ?? 0;
      const left = x > 0 ? (lines[start + x - 1] ?? 0) : 0;
      const up = y > 0 ? (lines[start + x - stride] ?? 0) : 0;
      const corner = x > 0 && y > 0 ? (lines[start + x - stride - 1] ?? 0) : 0;
      lines[start + x] = raw + predicted(filter, left, up, corner);
    }
  }
  return lines;
}

/**
 * @param {number | undefined} filter
 * @param {number} left
 * @param {number} up
 * @param {number} corner
 */
function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) throw new Error("This PNG has an unknown filter");
  const estimate = left + up - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/**
 * Return a byte for each pixel of lines with several pixels a byte.
 * @param {Uint8Array} lines
 * @param {number} stride
 * @param {number} width
 * @param {number} height
 * @param {number} depth bits of a pixel: 1, 2 or 4
 */
function unpack(lines, stride, width, height, depth) {
  const ids = new Uint8Array(width * height);
  const perByte = 8 / depth;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const byte = lines[y * stride + Math.floor(x / perByte)] ?? 0;
      ids[y * width + x] = (byte >> (8 - depth * ((x % perByte) + 1))) & ((1 << depth) - 1);
    }
  }
  return ids;
}
