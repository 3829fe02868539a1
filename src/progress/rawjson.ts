import { diagnosticToJson, type ErrorJson } from '../diagnostics/render';
import { jsonText } from '../diagnostics/visible';
import type { BuildEvent, ResourceUsage, TransferState } from './events';
import type { Renderer, Write } from './renderer';

/** Raised when a line's meaning changes; new kinds of lines and new members do not raise it. */
export const RAWJSON_VERSION = 1;

/**
 * One line of `--progress rawjson`. Every line is a JSON object with `version` and `kind`; `time`
 * is RFC 3339 in UTC. Readers skip kinds and members that they do not know.
 */
export type RawLine = { readonly version: typeof RAWJSON_VERSION } &
  /** A row comes into being. `stage` and `line` place it in the Dockerfile. */
  (
    | {
        readonly kind: 'vertex';
        readonly id: number;
        readonly name: string;
        readonly stage?: string | undefined;
        readonly line?: number | undefined;
      }
    | { readonly kind: 'started'; readonly id: number; readonly time: string }
    /** Output of a step: `text` when the bytes are UTF-8, else `data` in base64. */
    | {
        readonly kind: 'log';
        readonly id: number;
        readonly time: string;
        readonly stream: 'stdout' | 'stderr';
        readonly text?: string;
        readonly data?: string;
      }
    /** Bytes done and to do of a part of a transfer. */
    | {
        readonly kind: 'status';
        readonly id: number;
        readonly time: string;
        readonly item: string;
        readonly state: TransferState;
        readonly current: number;
        readonly total?: number | undefined;
      }
    | { readonly kind: 'note'; readonly id: number; readonly text: string }
    /** What the process of a row took of the machine. */
    | { readonly kind: 'usage'; readonly id: number; readonly usage: ResourceUsage }
    | {
        readonly kind: 'done';
        readonly id: number;
        readonly time: string;
        readonly cached: boolean;
      }
    | {
        readonly kind: 'failed';
        readonly id: number;
        readonly time: string;
        readonly error: string;
        readonly canceled?: boolean | undefined;
      }
    | { readonly kind: 'warning'; readonly diagnostic: ErrorJson }
    /** The last line of a build that went well. */
    | {
        readonly kind: 'result';
        readonly imageId: string | undefined;
        readonly digest: string;
        readonly names: readonly string[];
      }
    /** The last line of a build that failed. */
    | { readonly kind: 'error'; readonly error: ErrorJson }
  );

/** Omits from each member of a union. */
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** Events as JSON lines, nothing left out. */
export function rawJsonRenderer(write: Write): Renderer {
  return {
    events: (event) => write(rawLine(toLine(event))),
    tick: () => {},
    finish: () => {},
  };
}

/** A line with its version and line feed. */
export function rawLine(line: Without<RawLine, 'version'>): string {
  return `${jsonText({ version: RAWJSON_VERSION, ...line })}\n`;
}

function toLine(event: BuildEvent): Without<RawLine, 'version'> {
  switch (event.kind) {
    case 'log': {
      const { kind, id, stream, data } = event;
      return { kind, id, time: rfc3339(event.time), stream, ...payload(data) };
    }
    case 'warning':
      return { kind: event.kind, diagnostic: diagnosticToJson(event.diagnostic) };
    case 'vertex':
    case 'note':
    case 'usage':
      return event;
    default:
      return { ...event, time: rfc3339(event.time) };
  }
}

function payload(data: Uint8Array): { readonly text: string } | { readonly data: string } {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? { text } : { data: bytes.toString('base64') };
}

function rfc3339(time: number): string {
  return new Date(time).toISOString();
}
