/*
 * The data types of SSH. RFC 4251, section 5.
 */

/** Bytes with their length before them. */
export function sshString(content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([sshNumber(bytes.length), bytes]);
}

/** Four bytes, the highest first. */
export function sshNumber(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A positive number of any size: without leading zeros, but for one where the highest bit is set. */
export function sshInteger(value: Buffer): Buffer {
  let start = 0;
  while (start < value.length && value[start] === 0) start++;
  const digits = value.subarray(start);
  const isHigh = ((digits[0] ?? 0) & 0x80) !== 0;
  return sshString(isHigh ? Buffer.concat([Buffer.of(0), digits]) : digits);
}

/** Bytes that are not what they should be. */
export class WireError extends Error {}

/** Reads values one after the other. @throws WireError behind the end. */
export class WireReader {
  #position = 0;

  constructor(private readonly bytes: Buffer) {}

  number(): number {
    return this.take(4).readUInt32BE();
  }

  string(): Buffer {
    return this.take(this.number());
  }

  take(length: number): Buffer {
    const end = this.#position + length;
    if (end > this.bytes.length) throw new WireError('the value is cut off');
    const taken = this.bytes.subarray(this.#position, end);
    this.#position = end;
    return taken;
  }
}
