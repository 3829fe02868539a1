import { gunzipSync } from 'node:zlib';
import { MbuildError } from '../../diagnostics/error';
import { medians, stepsOfVertexes, type Durations, type StatusVertex } from './logs';

/** Largest export that is read, in bytes after unpacking. */
const MAX_EXPORT = 512 << 20;
const BLOCK = 512;
const STATUS = 'application/vnd.buildkit.status.v0';

/** Whether a file is what `docker buildx history export` writes: a gzip of a tar. */
export function isHistoryExport(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** Reads the times of steps out of `docker buildx history export` (.dockerbuild). @throws MbuildError USAGE for anything else. */
export function readHistoryExport(bytes: Buffer, file: string): Durations {
  const blobs = filesOf(unpack(bytes, file));
  const logs = [...blobs.values()].flatMap((blob) => statusDigests(blob));
  const vertexes = logs.flatMap((digest) =>
    vertexesOf(blobs.get(`blobs/${digest.replace(':', '/')}`) ?? Buffer.alloc(0)),
  );
  const steps = stepsOfVertexes(vertexes);
  if (steps.length > 0) return medians(steps);
  throw new MbuildError('USAGE', `${file} has no steps that ran`, {
    hint: 'export a build whose steps were not cached: docker buildx history export -o FILE REF',
  });
}

function unpack(bytes: Buffer, file: string): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_EXPORT });
  } catch (cause) {
    throw new MbuildError('USAGE', `${file} cannot be unpacked`, { cause });
  }
}

/** The regular files of a ustar archive, by their names without `./`. */
function filesOf(tar: Buffer): ReadonlyMap<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; at + BLOCK <= tar.length;) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const size = parseInt(tar.toString('latin1', at + 124, at + 136), 8);
    if (name === '' || !Number.isSafeInteger(size) || size < 0) break;
    const start = at + BLOCK;
    files.set(name.replace(/^\.\//, ''), tar.subarray(start, start + size));
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}

/** Digests of the logs that a manifest names. */
function statusDigests(blob: Buffer): string[] {
  if (blob[0] !== 0x7b || blob.length > 1 << 20) return [];
  try {
    const { layers } = JSON.parse(blob.toString('utf8')) as { readonly layers?: unknown };
    return Array.isArray(layers)
      ? layers.flatMap(
          (layer: { readonly mediaType?: unknown; readonly digest?: unknown } | null) =>
            layer?.mediaType === STATUS && typeof layer.digest === 'string' ? [layer.digest] : [],
        )
      : [];
  } catch {
    return [];
  }
}

/** moby/buildkit, solver/llbsolver/history.go: messages, each behind its length in four bytes, the lowest first. */
function vertexesOf(log: Buffer): StatusVertex[] {
  const vertexes: StatusVertex[] = [];
  for (let at = 0; at + 4 <= log.length;) {
    const size = log.readUInt32LE(at);
    const message = log.subarray(at + 4, at + 4 + size);
    // control.proto: StatusResponse.vertexes = 1
    for (const field of fieldsOf(message))
      if (field.number === 1 && typeof field.value !== 'number')
        vertexes.push(vertexOf(field.value));
    at += 4 + size;
  }
  return vertexes;
}

/** control.proto, Vertex: name = 3, cached = 4, started = 5, completed = 6. */
function vertexOf(message: Buffer): StatusVertex {
  let vertex: StatusVertex = { name: '', cached: false, started: undefined, completed: undefined };
  for (const { number, value } of fieldsOf(message)) {
    if (number === 4 && typeof value === 'number') vertex = { ...vertex, cached: value === 1 };
    if (typeof value === 'number') continue;
    if (number === 3) vertex = { ...vertex, name: value.toString('utf8') };
    if (number === 5) vertex = { ...vertex, started: timeOf(value) };
    if (number === 6) vertex = { ...vertex, completed: timeOf(value) };
  }
  return vertex;
}

/** google.protobuf.Timestamp: seconds = 1, nanos = 2. */
function timeOf(message: Buffer): number {
  let time = 0;
  for (const { number, value } of fieldsOf(message)) {
    if (typeof value !== 'number') continue;
    time += number === 1 ? value : value / 1e9;
  }
  return time;
}

interface Field {
  readonly number: number;
  readonly value: number | Buffer;
}

/** protobuf.dev, "Encoding". What ends early, or has an old kind of field, ends the list. */
function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; at < message.length; shift += 7) {
      const byte = message[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return value;
  };
  while (at < message.length) {
    const tag = varint();
    const [number, kind] = [Math.floor(tag / 8), tag % 8];
    if (kind === 0) fields.push({ number, value: varint() });
    else if (kind === 2) {
      const size = varint();
      fields.push({ number, value: message.subarray(at, at + size) });
      at += size;
    } else if (kind === 1 || kind === 5) at += kind === 1 ? 8 : 4;
    else return fields;
  }
  return fields;
}
