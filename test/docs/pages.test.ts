import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const ROOT = resolve(__dirname, '../..');

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  '.github/SECURITY.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

describe('pages', () => {
  it('README has at most 150 lines', () => {
    expect(textOf('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(150);
  });

  it('README leads to every page', () => {
    const linked = linksOf('README.md');
    expect(pages.filter((page) => page !== 'README.md' && !linked.includes(page))).toEqual([]);
  });

  it.each(pages)('%s links to files and headings that exist', (page) => {
    const broken = linksOf(page).filter((link) => {
      const [path = '', heading] = link.split('#');
      if (!existsSync(join(ROOT, path))) return true;
      return heading !== undefined && !headingsOf(path).includes(heading);
    });
    expect(broken).toEqual([]);
  });
});

/** Paths from the root of the repository, with the heading if the link has one. */
function linksOf(page: string): string[] {
  return [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      if (link.startsWith('#')) return `${page}${link}`;
      const [path = '', heading] = link.split('#');
      const target = relative(ROOT, resolve(ROOT, dirname(page), path));
      return heading === undefined ? target : `${target}#${heading}`;
    });
}

/** Names of headings as GitHub makes them. */
function headingsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replace(/ /g, '-'),
  );
}

function textOf(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}
