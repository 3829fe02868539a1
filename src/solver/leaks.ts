import type { Diagnostic } from '../diagnostics/error';
import type { Step } from '../graph/graph';
import type { RawPath } from '../linux/paths';
import { MIN_MASKED, maskStream } from '../progress/mask';
import type { SolveOptions } from './options';

/** The secrets that a step was given, which must not stay in its layer. */
export interface LeakWatch {
  readonly secrets: readonly { readonly id: string; readonly value: Buffer }[];
  readonly found: (path: RawPath, id: string) => void;
}

/** Files that one step is warned about. */
const MOST_WARNINGS = 10;

/**
 * What a step that has run is watched for: the exact values of the secrets mounted in it, without
 * the line end that files have. `undefined` for a step without any; values too short to be told
 * from chance are not looked for.
 */
export function leakWatch(
  step: Step,
  secrets: SolveOptions['secrets'],
  warn: (diagnostic: Diagnostic) => void,
): LeakWatch | undefined {
  const ids =
    step.operation.kind === 'run'
      ? step.operation.mounts.flatMap((mount) =>
          mount.kind === 'secret' && secrets.has(mount.id) ? [mount.id] : [],
        )
      : [];
  const given = [...new Set(ids)]
    .map((id) => ({ id, value: trimLineEnd(secrets.get(id)?.() ?? Buffer.alloc(0)) }))
    .filter(({ value }) => value.length >= MIN_MASKED);
  if (given.length === 0) return undefined;
  const parts = given.map(({ value }) => value);
  const masked = (path: RawPath): string => {
    const stream = maskStream(parts);
    return Buffer.concat([stream.push(Buffer.from(path, 'latin1')), stream.end()]).toString();
  };
  let told = 0;
  return {
    secrets: given,
    found: (path, id) => {
      if (++told > MOST_WARNINGS) return;
      warn({
        severity: 'warning',
        code: 'SecretInLayer',
        message: `the layer of this step holds the secret ${id}, in /${masked(path)}`,
        file: step.file,
        range: step.range,
        hint: 'delete the file in the same RUN; if the image was pushed, replace the secret',
      });
    },
  };
}

function trimLineEnd(value: Buffer): Buffer {
  let end = value.length;
  while (end > 0 && (value[end - 1] === 0x0a || value[end - 1] === 0x0d)) end--;
  return value.subarray(0, end);
}
