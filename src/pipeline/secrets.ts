import { existsSync, readFileSync, statSync } from 'node:fs';
import type { SecretSource } from './options';
import { MbuildError, isMbuildError } from '../diagnostics/error';

/**
 * The secrets of a build. A value is read when it is first asked for, and once: what a shell's
 * `<(command)` names cannot be read again.
 */
export class BuildSecrets {
  /** By id. @throws (each reader) MbuildError SECRET_MISSING. */
  readonly readers: ReadonlyMap<string, () => Buffer>;
  readonly #values = new Map<string, Buffer>();

  /**
   * @throws MbuildError SECRET_MISSING for a file that is not there, though no step may ask for it.
   */
  constructor(private readonly sources: readonly SecretSource[]) {
    for (const source of sources) checkFile(source);
    this.readers = new Map(sources.map((source) => [source.id, () => this.#read(source)]));
  }

  /**
   * All values that can be had without waiting for a pipe: those that no step was given too, as an
   * earlier build may have left one in a layer.
   */
  known(): Buffer[] {
    return this.sources.flatMap((source) => {
      if (
        !this.#values.has(source.id) &&
        source.env === undefined &&
        statSync(fileOf(source), { throwIfNoEntry: false })?.isFile() !== true
      )
        return [];
      try {
        return [this.#read(source)];
      } catch (error) {
        if (isMbuildError(error, 'SECRET_MISSING')) return [];
        throw error;
      }
    });
  }

  #read(source: SecretSource): Buffer {
    const value = this.#values.get(source.id) ?? readSecret(source);
    this.#values.set(source.id, value);
    return value;
  }
}

function checkFile(source: SecretSource): void {
  if (source.env !== undefined || existsSync(fileOf(source))) return;
  throw new MbuildError(
    'SECRET_MISSING',
    `the file ${fileOf(source)} of the secret ${source.id} does not exist`,
    { hint: 'give the file with --secret id=NAME,src=FILE, or a variable with env=NAME' },
  );
}

function readSecret(secret: SecretSource): Buffer {
  if (secret.env !== undefined) {
    // A variable that is not set is an empty secret, as docker has it.
    return Buffer.from(process.env[secret.env] ?? '');
  }
  const file = fileOf(secret);
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new MbuildError(
      'SECRET_MISSING',
      `the secret ${secret.id} could not be read from ${file}`,
      { cause },
    );
  }
}

function fileOf(secret: SecretSource): string {
  return secret.path ?? secret.id;
}
