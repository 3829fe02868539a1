/** An instruction in one line for progress: line breaks and runs of blanks become one blank, as BuildKit shows it. */
export function stepDisplay(text: string): string {
  return text.replace(/[\s\\]*\n\s*/g, ' ').trim();
}
