import type { OutputSpec } from '../build';
import { csvFields } from '../diagnostics/csv';
import { readKeys } from '../diagnostics/structured-option';
import { ANNOTATION_LEVELS, type Annotation, type AnnotationLevel } from '../oci/annotations';
import { outputKind, OUTPUT_TYPES } from '../output/kinds/kinds';
import { pairsOf } from './pairs';
import { usage } from './usage';

/** What `--output`, `--load` and `--push` say. */
export interface OutputFlags {
  readonly output: readonly string[];
  readonly load: boolean;
  readonly push: boolean;
}

/**
 * Where the result goes.
 * @param tags the names of `--tag`, in full.
 * @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID.
 */
export function readOutputs(flags: OutputFlags, tags: readonly string[]): readonly OutputSpec[] {
  const given = flags.output.map((text) => readOutput(text, tags));
  const outputs: OutputSpec[] = flags.load ? [{ type: 'docker', names: tags }, ...given] : given;
  if (!flags.push) return outputs;
  if (tags.length === 0)
    throw usage('--push needs a name to push to', 'add --tag registry/repository:tag');
  return [...outputs, { type: 'registry', names: tags }];
}

/**
 * One `--output`: `type=…,dest=…`, a bare path (a directory), `-` (a tar on standard output).
 * An image goes by the names of `--tag` unless it has `name=` of its own.
 */
export function readOutput(text: string, tags: readonly string[]): OutputSpec {
  const fields = csvFields(text);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && only.value === undefined)
    return only.key === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: text };
  const type = fields.find(({ key }) => key === 'type')?.value;
  if (type === undefined)
    throw usage(
      `--output ${JSON.stringify(text)} has no type`,
      `types are ${OUTPUT_TYPES.join(', ')}`,
    );
  const kind = outputKind(type);
  const annotations: Annotation[] = [];
  const takesAnnotations = 'name' in kind.keys;
  const values = readKeys(
    {
      title: `--output type=${type}`,
      keys: kind.keys,
      further: (key, value) => {
        const annotation = takesAnnotations ? annotationKey(key, value) : undefined;
        if (annotation !== undefined) annotations.push(annotation);
        return annotation !== undefined;
      },
    },
    fields.filter(({ key }) => key !== 'type'),
  );
  // The kind's own reader makes what the kind's own name promises.
  return kind.read(values, { names: tags, annotations }) as OutputSpec;
}

/**
 * BuildKit, "Image exporter": `annotation.KEY`, `annotation-LEVEL.KEY`, each with `[PLATFORM]`
 * before the dot.
 */
function annotationKey(key: string, value: string): Annotation | undefined {
  const match = /^annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(.+)$/.exec(key);
  const level = levelOf(match?.[1] ?? 'manifest');
  const name = match?.[3];
  if (name === undefined || level === undefined) return undefined;
  return { level, platform: match?.[2], key: name, value };
}

/**
 * `--annotation`: `KEY=VALUE` of manifests, `LEVEL[PLATFORM],…:KEY=VALUE` of others.
 * @throws MbuildError USAGE.
 */
export function readAnnotations(texts: readonly string[]): readonly Annotation[] {
  return texts.flatMap(readAnnotation);
}

function readAnnotation(text: string): Annotation[] {
  const match = /^([a-z-]+(?:\[[^\]]*\])?(?:,[a-z-]+(?:\[[^\]]*\])?)*):(.*)$/s.exec(text);
  const places = (match?.[1] ?? 'manifest').split(/,(?![^[]*\])/).map(placeOf);
  // What stands before the colon may be the beginning of a key as well.
  const isKey = places.some((place) => place === undefined);
  const pairs = Object.entries(pairsOf('annotation', [isKey ? text : (match?.[2] ?? text)]));
  return (isKey ? [{ level: 'manifest' as const }] : places).flatMap((place) =>
    pairs.map(([key, value]) => ({ level: 'manifest' as const, ...place, key, value })),
  );
}

function placeOf(text: string): Pick<Annotation, 'level' | 'platform'> | undefined {
  const [, name = '', platform] = /^([a-z-]+)(?:\[([^\]]*)\])?$/.exec(text) ?? [];
  const level = levelOf(name);
  return level === undefined ? undefined : { level, platform };
}

function levelOf(name: string): AnnotationLevel | undefined {
  return ANNOTATION_LEVELS.find((level) => level === name);
}
