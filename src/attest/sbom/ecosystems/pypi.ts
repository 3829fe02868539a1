import { paragraphs } from '../paragraphs';
import type { Ecosystem } from '../package';

/** What pip, poetry and uv install (PyPA, "Recording installed projects"; eggs before it). */
export const PYPI: Ecosystem = {
  name: 'pip',
  claims: ({ path }) =>
    /\.dist-info\/METADATA$|\.egg-info\/PKG-INFO$|(?:site|dist)-packages\/[^/]+\.egg-info$/.test(
      path,
    ),
  read: (file) => {
    const [fields] = paragraphs(file.read());
    const name = fields?.get('name');
    const version = fields?.get('version');
    if (fields === undefined || name === undefined || version === undefined)
      throw new Error('it has no name or no version');
    const license = fields.get('license-expression') ?? shortLicense(fields.get('license'));
    // purl specification, "pypi": names are compared in small letters, with hyphens (PEP 503).
    const normal = name.toLowerCase().replace(/[-_.]+/g, '-');
    return [
      {
        type: 'pypi',
        name: normal,
        version,
        licenses: license === undefined ? undefined : [license],
      },
    ];
  },
};

/** Some have the whole text of their license there. */
function shortLicense(text: string | undefined): string | undefined {
  const isName = text !== undefined && text !== '' && text !== 'UNKNOWN' && !text.includes('\n');
  return isName && text.length <= 100 ? text : undefined;
}
