/**
 * An instruction in one line for progress: line breaks and runs of blanks become one blank, as
 * BuildKit shows it. Passwords in addresses are hidden, as they are there.
 */
export function stepDisplay(text: string): string {
  return text
    .replace(/[\s\\]*\n\s*/g, ' ')
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/[^\s/@:]*):[^\s/@]+@/gi, '$1:xxxxx@')
    .trim();
}
