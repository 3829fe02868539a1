import type { AttestationOptions, ProvenanceOptions, SbomOptions } from '../attest/options';
import { SBOM_FORMATS } from '../attest/sbom/formats';
import { csvFields, type CsvField } from '../diagnostics/csv';
import { MbuildError } from '../diagnostics/error';
import {
  FILE_NAME,
  FLAG,
  TEXT,
  oneOf,
  readKeys,
  type KeyTable,
  type ReadKey,
} from '../diagnostics/structured-option';
import { didYouMean } from '../diagnostics/suggest';
import { usage } from './usage';

/** The flags that say what is attested. */
export interface AttestFlags {
  readonly attest: readonly string[];
  readonly provenance: string | undefined;
  readonly sbom: string | undefined;
}

const REFERRERS: KeyTable = {
  referrers: {
    refused: 'is not supported',
    hint: '--output type=registry,oci-artifact=true makes attestations referrers of their image',
  },
};
const COMMON_KEYS = {
  type: TEXT,
  disabled: FLAG,
  'inline-only': FLAG,
  filename: FILE_NAME,
} as const satisfies KeyTable;
const PROVENANCE_KEYS = {
  ...COMMON_KEYS,
  ...REFERRERS,
  mode: oneOf(['min', 'max']),
  version: oneOf(['v1', 'v0.2']),
  'builder-id': TEXT,
  reproducible: FLAG,
} as const satisfies KeyTable;

const FORMAT_NAMES = SBOM_FORMATS.map(({ name }) => name);
/**
 * Other scanners are images that BuildKit runs; `mbuild` is the only one here, and its formats may
 * stand in its place.
 */
const GENERATOR: ReadKey<string> = {
  read: (value) => {
    if (value === 'mbuild') return 'spdx-json';
    if (FORMAT_NAMES.includes(value)) return value;
    throw new MbuildError('UNSUPPORTED', `generator=${value} is not supported`, {
      hint: `mbuild reads the layers itself and starts no scanner: generator=mbuild, or ${FORMAT_NAMES.join(', ')}`,
    });
  },
};
const SBOM_KEYS = {
  ...COMMON_KEYS,
  ...REFERRERS,
  generator: GENERATOR,
  format: oneOf(FORMAT_NAMES),
} as const satisfies KeyTable;

const TYPES = ['provenance', 'sbom'] as const;

/** What the flags ask for; `undefined` for nothing. @throws MbuildError USAGE, UNSUPPORTED. */
export function readAttestations(flags: AttestFlags): AttestationOptions | undefined {
  const seen = new Set<string>();
  const given = [
    ...flags.attest.map(csvFields),
    ...TYPES.flatMap((type) => (flags[type] === undefined ? [] : [shorthand(type, flags[type])])),
  ];
  const read: AttestationOptions[] = given.map((fields) => {
    const type = typeOf(fields);
    if (seen.has(type)) throw usage(`attestations of type ${type} are asked for twice`);
    seen.add(type);
    return type === 'provenance'
      ? { provenance: readProvenance(fields) }
      : { sbom: readSbom(fields) };
  });
  const { provenance, sbom }: AttestationOptions = Object.assign({}, ...read);
  return provenance === undefined && sbom === undefined ? undefined : { provenance, sbom };
}

/**
 * `--sbom=VALUE` as the fields of `--attest type=sbom,…`: a flag, the fields themselves, or a
 * format's name.
 */
function shorthand(type: (typeof TYPES)[number], value: string): CsvField[] {
  const field = (key: string, text: string): CsvField => ({ key, value: text });
  const isOn = readFlag(value);
  if (isOn !== undefined) return [field('type', type), field('disabled', String(!isOn))];
  if (type === 'sbom' && FORMAT_NAMES.includes(value))
    return [field('type', type), field('format', value)];
  return [field('type', type), ...csvFields(value)];
}

function readFlag(value: string): boolean | undefined {
  if (/^(?:1|t|true)$/i.test(value)) return true;
  return /^(?:0|f|false)$/i.test(value) ? false : undefined;
}

function typeOf(fields: readonly CsvField[]): (typeof TYPES)[number] {
  // buildx takes the type alone, too: --attest provenance.
  const bare = fields[0]?.value === undefined ? fields[0]?.key : undefined;
  const name = fields.find(({ key }) => key === 'type')?.value ?? bare ?? '';
  const type = TYPES.find((one) => one === name);
  if (type !== undefined) return type;
  throw usage(
    `unknown type ${JSON.stringify(name)} in --attest`,
    didYouMean(name, TYPES) ?? 'types are provenance and sbom',
  );
}

function withoutType(fields: readonly CsvField[]): CsvField[] {
  return fields.filter(({ value }, i) => i > 0 || value !== undefined);
}

function readProvenance(fields: readonly CsvField[]): ProvenanceOptions | undefined {
  const read = readKeys(
    { title: '--attest type=provenance', keys: PROVENANCE_KEYS },
    withoutType(fields),
  );
  if (read.disabled === true) return undefined;
  return {
    mode: read.mode ?? 'min',
    version: read.version ?? 'v1',
    builderId: read['builder-id'],
    reproducible: read.reproducible,
    inlineOnly: read['inline-only'],
    fileName: read.filename,
  };
}

function readSbom(fields: readonly CsvField[]): SbomOptions | undefined {
  const read = readKeys({ title: '--attest type=sbom', keys: SBOM_KEYS }, withoutType(fields));
  if (read.disabled === true) return undefined;
  const format = read.format ?? read.generator ?? 'spdx-json';
  return { format, inlineOnly: read['inline-only'], fileName: read.filename };
}
