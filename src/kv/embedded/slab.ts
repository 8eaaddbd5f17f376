/** Values up to an eighth of it share one allocation; whoever keeps one of them keeps all of these bytes. */
const slabBytes = 65_536;

let slab = Buffer.allocUnsafeSlow(slabBytes);
let used = 0;

/** A copy of bytes that LMDB is about to overwrite. One allocation for hundreds of records, not one for each. */
export function copyOut(source: Uint8Array, start: number, end: number): Buffer {
  const size = end - start;
  const view = new Uint8Array(source.buffer, source.byteOffset + start, size);
  if (size > slabBytes >> 3) return Buffer.from(view);
  if (used + size > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    used = 0;
  }
  const from = used;
  used += size;
  slab.set(view, from);
  return slab.subarray(from, used);
}
