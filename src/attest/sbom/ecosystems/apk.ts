import { linesOf } from '../paragraphs';
import type { Ecosystem, Package } from '../package';

/** apk-tools (Alpine). Its records have fields of one letter (apk specification, "installed database"). */
export const APK: Ecosystem = {
  name: 'apk',
  claims: ({ path }) => /^(?:usr\/)?lib\/apk\/db\/installed$/.test(path),
  read: (file) => [...readAll(file.read())],
};

function* readAll(bytes: Buffer): Generator<Package> {
  let fields = new Map<string, string>();
  for (const line of linesOf(bytes)) {
    if (line === '') {
      yield* packageOf(fields);
      fields = new Map();
    } else if (line[1] === ':') fields.set(line.slice(0, 1), line.slice(2));
  }
  yield* packageOf(fields);
}

function packageOf(fields: ReadonlyMap<string, string>): Package[] {
  const name = fields.get('P');
  const version = fields.get('V');
  if (name === undefined || version === undefined) return [];
  const origin = fields.get('o');
  const license = fields.get('L');
  return [
    {
      type: 'apk',
      name,
      version,
      architecture: fields.get('A'),
      licenses: license === undefined ? undefined : [license],
      source: origin === undefined || origin === name ? undefined : { name: origin, version },
    },
  ];
}
