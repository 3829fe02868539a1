/** Whether a name matches a pattern with `*`, `?` and `[…]`, as Go's path.Match has it. */
export function globMatches(pattern: string, name: string): boolean {
  const source = pattern.replace(/\[\^?[^\]]*\]|[\s\S]/g, (part) => {
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part.length > 1) return part.replaceAll('\\', '\\\\');
    return part.replace(/[\\^$.*+?()[\]{}|]/, '\\$&');
  });
  try {
    return new RegExp(`^${source}$`, 'u').test(name);
  } catch {
    return false;
  }
}

/** True where a name is a pattern. */
export function isPattern(name: string): boolean {
  return /[*?[\]]/.test(name);
}
