// Read masks in COCO's compressed run-length format, as `pycocotools.mask.decode` does.

/**
 * Return a mask row by row: 1 where the object is, else 0. Throw a `RangeError` if the runs do not fit the size.
 *
 * The runs alternate between 0 and 1 down the columns. Each is written in groups of five bits, lowest first, from the
 * character "0" on. Bit 6 says that a group follows. From the fourth run on, the difference from the run two places
 * before is written.
 * @param {{ size: [height: number, width: number], counts: string }} runs
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeRuns({ size: [height, width], counts }) {
  const mask = new Uint8Array(height * width);
  let position = 0;
  let value = 0;
  for (const length of runLengths(counts)) {
    if (length < 0 || position + length > mask.length) throw new RangeError("The run lengths do not fit the mask");
    if (value) fillColumns(mask, height, width, position, length);
    position += length;
    value ^= 1;
  }
  if (position !== mask.length) throw new RangeError("The run lengths do not fill the mask");
  return mask;
}

/**
 * @param {string} counts
 * @returns {number[]}
 */
function runLengths(counts) {
  /** @type {number[]} */
  const lengths = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let group = 0x20;
    while (group & 0x20) {
      group = counts.charCodeAt(at++) - 48;
      if (!(group >= 0 && group < 64)) throw new RangeError("A run length is cut off or has an invalid character");
      value |= (group & 0x1f) << shift;
      shift += 5;
    }
    if (group & 0x10 && shift < 32) value |= -1 << shift; // negative: extend the sign
    lengths.push(lengths.length > 2 ? value + (lengths[lengths.length - 2] ?? 0) : value);
  }
  return lengths;
}

/**
 * @param {Uint8Array} mask
 * @param {number} height
 * @param {number} width
 * @param {number} start down the columns
 * @param {number} length
 */
function fillColumns(mask, height, width, start, length) {
  for (let position = start; position < start + length; position++) {
    mask[(position % height) * width + Math.floor(position / height)] = 1;
  }
}
