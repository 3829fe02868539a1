import { existsSync } from 'node:fs';
import path from 'node:path';

/**
 * A file of the program that is started by its own: beside the running bundle, or in `dist/` when
 * the sources run unbundled under a test.
 */
export function bundledFile(name: string): string {
  for (let dir = __dirname; dir !== path.dirname(dir); dir = path.dirname(dir)) {
    for (const candidate of [path.join(dir, name), path.join(dir, 'dist', name)]) {
      if (existsSync(candidate)) return candidate;
    }
  }
  throw new Error(`dist/${name} is missing: run \`npm run build\``);
}
