import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { manPages } from './man';
import { SCRIPTS } from './scripts';

/** Where the shells look for completions below `share`, in distributions' packages too. */
const PLACES = {
  bash: 'bash-completion/completions/mbuild',
  zsh: 'zsh/site-functions/_mbuild',
  fish: 'fish/vendor_completions.d/mbuild.fish',
} as const;

/** Writes what a package installs below `share`: completions and the manual. */
export async function writeShare(directory: string): Promise<void> {
  const pages = await manPages();
  const files = [
    ...Object.entries(PLACES).map(
      ([shell, file]) => [file, SCRIPTS[shell as keyof typeof PLACES]] as const,
    ),
    ...pages.map(({ file, text }) => [`man/man1/${file}`, text] as const),
  ];
  for (const [file, text] of files) {
    const place = path.join(directory, file);
    mkdirSync(path.dirname(place), { recursive: true });
    writeFileSync(place, text);
  }
}
