import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { MEMBER, OVERHEAD, gzipMember } from '../../src/layer/gzip';
import { digestOf } from '../../src/oci/digest';

function gzip(input: Buffer): Buffer {
  const buffer = Buffer.alloc(input.length + OVERHEAD);
  input.copy(buffer);
  return buffer.subarray(0, gzipMember(buffer, input.length));
}

/** Numbers that are the same in every run. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) yield (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 8;
}

/**
 * Bytes without a copy among them, some of which are so rare that Huffman's codes for them would be
 * longer than deflate's may be.
 */
function skewed(): Buffer {
  const random = numbers(7);
  const bytes = Buffer.from(Array.from({ length: 30_000 }, () => random.next().value % 128));
  let at = 0;
  for (
    let times = [1, 2], byte = 128;
    byte < 140;
    byte++, times = [times[1] ?? 0, (times[0] ?? 0) + (times[1] ?? 0)]
  ) {
    for (let left = times[0] ?? 0; left > 0; left--, at += 4) bytes[at] = byte;
  }
  return bytes;
}

const words = [
  'layer',
  'tree',
  'digest',
  'of',
  'a',
  'the',
  '\n',
  'snapshot',
  '/usr/share/doc/',
  'copyright',
];
const choices = numbers(1);
const text = Buffer.from(
  Array.from({ length: 150_000 }, () => words[choices.next().value % words.length]).join(' '),
);
const inputs: readonly (readonly [string, Buffer])[] = [
  ...[0, 1, 3, 7, 8, 9, 16].map(
    (length) =>
      [`${length} bytes`, Buffer.from('aaaaaaaaaaaaaaaaaaaa').subarray(0, length)] as const,
  ),
  ['text of several blocks', text],
  ['zeros', Buffer.alloc(MEMBER)],
  ['random bytes', randomBytes(MEMBER)],
  [
    'random bytes of several blocks, then text',
    Buffer.concat([randomBytes(200_000), text.subarray(0, 100_000)]),
  ],
  [
    'the farthest copy',
    Buffer.concat([text.subarray(0, 100), randomBytes(32_768 - 100), text.subarray(0, 100)]),
  ],
  [
    'a copy that is too far',
    Buffer.concat([text.subarray(0, 100), randomBytes(32_769 - 100), text.subarray(0, 100)]),
  ],
  ['bytes of very different frequency', skewed()],
  [
    'copies up to the last byte',
    Buffer.concat([
      Buffer.from('0123456789'),
      Buffer.from('0123456789'),
      Buffer.from('0123456789'),
    ]),
  ],
];

describe('the gzip compressor', () => {
  it.each(inputs)('of %s makes what unpacks to them', (_, input) => {
    const packed = gzip(input);
    expect(gunzipSync(packed).equals(input)).toBe(true);
    expect(packed.length).toBeLessThanOrEqual(input.length + OVERHEAD);
  });

  it('of any mixture of bytes, runs and copies makes what unpacks to it', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(fc.nat(255), fc.nat(2000)).map(([byte, length]) => Buffer.alloc(length, byte)),
      fc
        .tuple(fc.nat(50_000), fc.nat(5_000))
        .map(([from, length]) => text.subarray(from, from + length)),
      fc.tuple(fc.nat(1 << 20), fc.nat(40_000)).map(([seed, length]) => {
        const source = numbers(seed);
        return Buffer.from(Array.from({ length }, () => source.next().value & 0xff));
      }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const input = Buffer.concat(pieces);
        return gunzipSync(gzip(input)).equals(input);
      }),
      { numRuns: 60 },
    );
  });

  it('finds what repeats', () => {
    expect(gzip(Buffer.alloc(MEMBER)).length).toBeLessThan(2_000);
    expect(gzip(text.subarray(0, MEMBER)).length).toBeLessThan(text.length / 3);
  });

  // Digests of compressed layers depend on these bytes: whoever changes them makes every layer be
  // pushed anew.
  it('makes the same bytes on every machine', () => {
    expect(digestOf(gzip(Buffer.concat([text.subarray(0, 400_000), skewed()])))).toBe(
      'sha256:99e7b693c07ee76df1b6e42e3c16fb0feee031839afacfd1db3c1a7414a9616b',
    );
  });
});
