import { createHash } from 'node:crypto';
import type { Diagnostic } from '../../diagnostics/error';
import type { CheckResult } from '../../pipeline/check';
import { toJson } from './check';

/** Severities of Code Climate's format, of what stops a build and of what does not. */
const BLOCKER = 'blocker';
const MINOR = 'minor';

/**
 * A report in the form that GitLab reads: docs "Code Quality", "Code Quality report format". The fingerprint stays when lines are added
 * above, so that a merge request is shown what is new in it.
 * @param path of the Dockerfile from the repository's root.
 */
export function checkCodeQuality({ file, warnings, error }: CheckResult, path: string): string {
  const lines = file.text.split(/\r?\n/);
  const seen = new Map<string, number>();
  const issueOf = (
    { code, message, range }: Pick<Diagnostic, 'code' | 'message' | 'range'>,
    severity: string,
  ): object => {
    const begin = range?.start.line ?? 1;
    const identity = JSON.stringify([path, code, message, lines[begin - 1]]);
    const count = seen.get(identity) ?? 0;
    seen.set(identity, count + 1);
    return {
      description: message,
      check_name: code,
      fingerprint: createHash('sha256').update(`${identity}${count}`).digest('hex'),
      severity,
      location: { path, lines: { begin, ...(range === undefined ? {} : { end: range.end.line }) } },
    };
  };
  return toJson([
    ...warnings.map((warning) => issueOf(warning, MINOR)),
    ...(error === undefined || error.code === 'CHECK_FAILED' ? [] : [issueOf(error, BLOCKER)]),
  ]);
}
