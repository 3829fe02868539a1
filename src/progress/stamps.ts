import type { Write } from './renderer';

/** Begins each line with the time, RFC 3339 in UTC with milliseconds. What is written must be whole lines. */
export function stampLines(write: Write, now: () => number): Write {
  return (text) => {
    const time = new Date(now()).toISOString();
    write(text.replace(/^(?=[^\n])/gm, `${time} `));
  };
}
