/** Fields longer than this are cut: descriptions, lists of files. */
const MAX_VALUE = 64 * 1024;

/**
 * Paragraphs of `Name: value` lines, with empty lines between them (deb-control(5), RFC 822 headers). Names are in small letters;
 * lines that begin with white space go on with the field before them.
 */
export function* paragraphs(bytes: Buffer): Generator<ReadonlyMap<string, string>> {
  let fields = new Map<string, string>();
  let last: string | undefined;
  for (const line of linesOf(bytes)) {
    if (line.trim() === '') {
      if (fields.size > 0) yield fields;
      fields = new Map();
      last = undefined;
    } else if (/^[ \t]/.test(line)) {
      const before = last === undefined ? undefined : fields.get(last);
      if (last !== undefined && before !== undefined && before.length < MAX_VALUE)
        fields.set(last, `${before}\n${line.trim()}`);
    } else {
      const colon = line.indexOf(':');
      if (colon < 1) continue;
      last = line.slice(0, colon).toLowerCase();
      fields.set(last, line.slice(colon + 1).trim());
    }
  }
  if (fields.size > 0) yield fields;
}

/** The lines of a file, without their ends. */
export function* linesOf(bytes: Buffer): Generator<string> {
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(0x0a, start);
    const stop = end < 0 ? bytes.length : end;
    yield bytes.toString('utf8', start, bytes[stop - 1] === 0x0d ? stop - 1 : stop);
    start = stop + 1;
  }
}
