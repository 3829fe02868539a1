/**
 * A length of time as docker tells it: `Less than a second`, `About a minute`, `3 weeks`. go-units,
 * duration.go.
 */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  const minutes = Math.trunc(milliseconds / 60_000);
  const hours = Math.round(milliseconds / 3_600_000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(milliseconds / 3_600_000 / 24 / 365)} years`;
}

/** Time since an RFC 3339 time, with `ago`; `N/A` when there is none. */
export function humanSince(time: string | undefined, now: number): string {
  const at = parseTime(time);
  return at === undefined ? 'N/A' : `${humanDuration(now - at)} ago`;
}

/** `2026-11-21 01:54:41 +0000 UTC`, as Go prints times. */
export function goTime(time: string | undefined): string {
  const at = parseTime(time);
  return at === undefined
    ? 'N/A'
    : new Date(at).toISOString().replace(/^(.*)T(.*)\.\d+Z$/, '$1 $2 +0000 UTC');
}

/** RFC 3339 in UTC with whole seconds. */
export function wholeSeconds(time: string | undefined): string {
  const at = parseTime(time);
  return at === undefined ? '' : new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Milliseconds since the epoch; `undefined` for no time and for Go's zero time. */
export function parseTime(time: string | undefined): number | undefined {
  if (time === undefined || time.startsWith('0001-01-01')) return undefined;
  const at = Date.parse(time);
  return Number.isNaN(at) ? undefined : at;
}

/** Go's time.Duration as text: `1m30s`, `1.5s`, `250ms`, `0s`. */
export function goDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  const sign = nanoseconds < 0 ? '-' : '';
  const n = Math.abs(nanoseconds);
  if (n < 1e3) return `${sign}${n}ns`;
  if (n < 1e6) return `${sign}${n / 1e3}µs`;
  if (n < 1e9) return `${sign}${n / 1e6}ms`;
  const hours = Math.trunc(n / 3.6e12);
  const minutes = Math.trunc((n % 3.6e12) / 6e10);
  const seconds = (n % 6e10) / 1e9;
  return `${sign}${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${Number(seconds.toFixed(9))}s`;
}
