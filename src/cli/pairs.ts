import { usage } from './usage';

/**
 * `KEY=VALUE` texts as an object; with `bare` a key alone has an empty value.
 * @throws MbuildError USAGE.
 */
export function pairsOf(
  flag: string,
  texts: readonly string[],
  bare = false,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 0 && bare && text !== '') return [text, ''];
      if (at < 1) throw usage(`invalid --${flag} ${JSON.stringify(text)}`, 'write KEY=VALUE');
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
