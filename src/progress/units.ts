const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'] as const;

/**
 * Bytes as docker prints them: decimal units, so many significant digits (`1.98MB`, `173MB` with 3;
 * `173.3MB` with 4), zeros at the end dropped. go-units, size.go, `HumanSizeWithPrecision`.
 */
export function humanSize(bytes: number, precision = 4): string {
  let unit = 0;
  let size = bytes;
  while (Number(size.toPrecision(precision)) >= 1000 && unit < DECIMAL.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${Number(size.toPrecision(precision))}${DECIMAL[unit] ?? ''}`;
}

/** Seconds with one decimal, as BuildKit ends its lines: `1.2s`. */
export function seconds(milliseconds: number): string {
  return `${(Math.max(0, milliseconds) / 1000).toFixed(1)}s`;
}
