import fc from 'fast-check';
import { FrameReader, encodeFrame, type ToSession } from '../../src/api/frames';

const CALLS: readonly ToSession[] = [
  { kind: 'call', id: 1, argv: ['build', '.'], input: Uint8Array.of(0, 255) },
  { kind: 'cancel', id: 1 },
  { kind: 'call', id: 2, argv: ['images', '--', 'ä'.repeat(3000)] },
];

describe('messages of a session', () => {
  it('come out whole and in order, however the bytes are cut', () => {
    const bytes = Buffer.concat(CALLS.map(encodeFrame));
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 40 }), (cuts) => {
        const ends = [...cuts.sort((a, b) => a - b), bytes.length];
        const reader = new FrameReader<ToSession>();
        const read = ends.flatMap((end, i) => reader.push(bytes.subarray(ends[i - 1] ?? 0, end)));
        expect(read.map(plain)).toEqual(CALLS.map(plain));
      }),
    );
  });
});

/** Bytes as an array: a Buffer of another realm is not equal to one of this. */
function plain(message: ToSession): unknown {
  if (message.kind !== 'call') return { ...message };
  return { ...message, argv: [...message.argv], input: message.input && [...message.input] };
}
