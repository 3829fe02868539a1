import { writeFileSync } from 'node:fs';
import { SBOM_FORMATS } from '../../attest/sbom/formats';
import { sbomOf, type Sbom } from '../../attest/sbom/sbom';
import { jsonText, visible } from '../../diagnostics/visible';
import { defineCommand } from '../command';
import { layOutTable } from '../format/table';
import { note } from '../host';
import { findImage, withServices } from '../services';

export const command = defineCommand({
  name: 'sbom',
  summary: 'List the packages of an image, with the layer and the Dockerfile line of each',
  usage: ['[OPTIONS] IMAGE'],
  positionals: { min: 1, max: 1 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['table', ...SBOM_FORMATS.map(({ name }) => name)],
      fallback: 'table',
      help: 'table, spdx-json (SPDX 2.3) or cyclonedx-json (CycloneDX 1.6)',
    },
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE',
      help: 'Write to a file instead of standard output',
    },
  },
  notes: [
    'Reads the records of package managers in the layers: dpkg, apk, rpm, npm, pip, gems, Go and Rust programs, Java archives,',
    'Composer and NuGet. Each layer is read only once. Lines are shown if this store built the image.',
  ],
  run: ({ flags, positionals: [name = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const image = findImage(services, name);
      const sbom = sbomOf(image, name, services);
      for (const { path, reason } of sbom.gaps)
        note(host, `incomplete: /${path} cannot be read: ${reason}`);
      const format = SBOM_FORMATS.find((candidate) => candidate.name === flags.format);
      const created = new Date(image.config.created ?? 0);
      const text =
        format === undefined ? table(sbom) : `${jsonText(await format.write(sbom, created), 2)}\n`;
      if (flags.output === undefined) host.out.write(text);
      else writeFileSync(flags.output, text);
      return 0;
    }),
});

function table({ packages }: Sbom): string {
  const rows = packages.map(
    ({ namespace, name, version, type, layer, line, instruction, licenses }) => [
      visible(namespace === undefined ? name : `${namespace}/${name}`),
      visible(version),
      type,
      String(layer + 1),
      line === undefined ? visible(shorten(instruction)) : `line ${line}`,
      visible(shorten((licenses ?? []).join(', '))),
    ],
  );
  return layOutTable([['PACKAGE', 'VERSION', 'TYPE', 'LAYER', 'FROM', 'LICENSES'], ...rows]);
}

function shorten(text: string): string {
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}
