/** The PATH that docker and BuildKit give to what has none. BuildKit, util/system/path.go. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Splits `NAME=value`; a text without `=` has an empty value. */
export function splitEnv(entry: string): [name: string, value: string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

/** The value of a variable in a list of `NAME=value`. */
export function envValue(env: readonly string[], name: string): string | undefined {
  const entry = env.find((item) => splitEnv(item)[0] === name);
  return entry === undefined ? undefined : splitEnv(entry)[1];
}

/** A new list in which `name` is set: in its old place if it was there, else at the end. */
export function withEnv(env: readonly string[], name: string, value: string): string[] {
  const entry = `${name}=${value}`;
  const at = env.findIndex((item) => splitEnv(item)[0] === name);
  return at < 0 ? [...env, entry] : env.map((item, i) => (i === at ? entry : item));
}
