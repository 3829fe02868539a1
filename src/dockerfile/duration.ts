const NANOSECONDS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  '\u00b5s': 1_000n,
  '\u03bcs': 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const PART = /(\d*)(?:\.(\d*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/y;
const LIMIT = 1n << 63n;

/**
 * Nanoseconds of a duration as Go writes them (`1m30s`, `1.5h`, `-2ms`, `0`); `undefined` for
 * anything else.
 */
export function parseDuration(text: string): number | undefined {
  const [, sign, digits = ''] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  if (digits === '0') return 0;
  if (digits === '') return undefined;
  let sum = 0n;
  for (PART.lastIndex = 0; PART.lastIndex < digits.length;) {
    const [, whole = '', fraction = '', unit = ''] = PART.exec(digits) ?? [];
    const factor = NANOSECONDS[unit];
    if (factor === undefined || whole + fraction === '') return undefined;
    sum +=
      BigInt(whole || '0') * factor +
      (BigInt(fraction || '0') * factor) / 10n ** BigInt(fraction.length);
    if (sum >= LIMIT) return undefined;
  }
  return Number(sign === '-' ? -sum : sum);
}
