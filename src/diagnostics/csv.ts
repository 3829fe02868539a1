import { MbuildError } from './error';

/**
 * One line of comma-separated fields as Go's encoding/csv reads it: a field may stand in double
 * quotes, `""` in it is one.
 * @throws MbuildError USAGE for quotes that do not match.
 */
export function splitCsv(text: string): string[] {
  const fields: string[] = [];
  let rest = text;
  for (;;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/.exec(rest);
    if (match === null)
      throw new MbuildError('USAGE', `invalid quoting in ${JSON.stringify(text)}`, {
        hint: 'put a field that has a comma in double quotes, all of it: "name=a,b"',
      });
    fields.push(match[1]?.replace(/""/g, '"') ?? match[2] ?? '');
    if (match[3] === '') return fields;
    rest = rest.slice(match[0].length);
  }
}

/** A field of `key=value` fields. */
export interface CsvField {
  readonly key: string;
  readonly value: string | undefined;
}

/** Fields as `key=value`, keys in lower case. A field without `=` has no value. */
export function csvFields(text: string): CsvField[] {
  return splitCsv(text).map((field) => {
    const at = field.indexOf('=');
    return at < 0
      ? { key: field.trim(), value: undefined }
      : { key: field.slice(0, at).trim().toLowerCase(), value: field.slice(at + 1) };
  });
}
