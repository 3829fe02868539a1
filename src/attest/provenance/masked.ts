import { maskedParts, maskStream } from '../../progress/mask';

/** A value with `***` in all of its texts where a secret stood. */
export function masked<T>(value: T, secrets: readonly Buffer[]): T {
  const parts = maskedParts(secrets);
  if (parts.length === 0) return value;
  const text = (plain: string): string => {
    const stream = maskStream(parts);
    return Buffer.concat([stream.push(Buffer.from(plain)), stream.end()]).toString('utf8');
  };
  const walk = (item: unknown): unknown => {
    if (typeof item === 'string') return text(item);
    if (Array.isArray(item)) return item.map(walk);
    if (typeof item !== 'object' || item === null) return item;
    return Object.fromEntries(
      Object.entries(item).map(([key, member]) => [text(key), walk(member)]),
    );
  };
  // Texts stay texts, and members where they were.
  return walk(value) as T;
}
