import { decodeText } from '../../src/diagnostics/text';

describe('the text of a file', () => {
  it('keeps every character, a byte order mark too', () => {
    expect(decodeText(Buffer.from('\ufeffFROM ä\n'), 'Dockerfile')).toBe('\ufeffFROM ä\n');
  });

  it('is refused where it is not UTF-8, with the line', () => {
    const bytes = Buffer.concat([
      Buffer.from('FROM a\nRUN echo '),
      Buffer.from([0xe4]),
      Buffer.from('\n'),
    ]);
    expect(() => decodeText(bytes, 'Dockerfile')).toThrow('Dockerfile:2 is not UTF-8');
  });
});
