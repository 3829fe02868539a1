import { MbuildError } from '../diagnostics/error';
import type { Flag } from './instruction';

// What Go's strconv.ParseBool takes.
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/**
 * The fields of a flag whose value is a CSV line (`--mount`, `--device`): those with a comma stand
 * in double quotes, a quote within is doubled (RFC 4180).
 * @param example what could have been written, for who wrote nothing
 * @throws {MbuildError} DOCKERFILE_SYNTAX, placed at the flag.
 */
export function fieldsOf(flag: Flag, example: string): string[] {
  const text = flag.value ?? '';
  const wrong = (message: string, hint?: string): MbuildError =>
    new MbuildError('DOCKERFILE_SYNTAX', message, { range: flag.range, hint });
  const fields: string[] = [];
  for (let position = 0; position <= text.length; position++) {
    let end: number;
    if (text[position] === '"') {
      const quoted = /"((?:[^"]|"")*)"(?=,|$)/y;
      quoted.lastIndex = position;
      const content = quoted.exec(text)?.[1];
      if (content === undefined) throw wrong(`a quote is left open in --${flag.name}=${text}`);
      fields.push(content.replaceAll('""', '"'));
      end = quoted.lastIndex;
    } else {
      const comma = text.indexOf(',', position);
      end = comma === -1 ? text.length : comma;
      const field = text.slice(position, end);
      if (field.includes('"'))
        throw wrong(
          `a quote is inside "${field}" of --${flag.name}`,
          'put the whole option in quotes: "id=a,b"',
        );
      fields.push(field);
    }
    position = end;
  }
  if (text === '') throw wrong(`--${flag.name} needs options`, `e.g. --${flag.name}=${example}`);
  return fields;
}

/** A field's key in lower case, and what stands behind its first `=`. */
export function splitField(field: string): { key: string; value: string | undefined } {
  const equals = field.indexOf('=');
  return {
    key: (equals === -1 ? field : field.slice(0, equals)).toLowerCase(),
    value: equals === -1 ? undefined : field.slice(equals + 1),
  };
}

/** `undefined` for what is neither true nor false. */
export function readBoolean(value: string): boolean | undefined {
  if (TRUE.includes(value)) return true;
  return FALSE.includes(value) ? false : undefined;
}
