import { copyFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { removeTree } from '../../linux/remove-tree';
import { DEFAULT_REGISTRY } from '../../oci/reference';
import type { RegistryRule } from '../../registry/settings';
import type { Host } from '../host';
import { usage } from '../usage';

/** What kaniko's flags say of registries. */
export interface RegistryFlags {
  readonly 'registry-mirror': readonly string[];
  readonly 'registry-map': readonly string[];
  readonly 'skip-default-registry-fallback': boolean;
  readonly 'registry-certificate': readonly string[];
  readonly 'registry-client-cert': readonly string[];
}

/** Lets a command run on a host that speaks to registries as the flags say. */
export async function withRegistries<T>(
  flags: RegistryFlags,
  host: Host,
  work: (host: Host) => Promise<T>,
): Promise<T> {
  const rules = rulesOf(flags);
  const files = certificateFiles(flags);
  if (files.length === 0) return work({ ...host, registry: { rules } });
  const folder = mkdtempSync(path.join(tmpdir(), 'mbuild-certs-'));
  try {
    for (const { from, to } of files) copyCertificate(from, path.join(folder, to));
    return await work({ ...host, registry: { rules, moreCertFolders: [folder] } });
  } finally {
    removeTree(folder);
  }
}

/** Mirrors, each under the registry that it stands for. */
export function rulesOf(flags: RegistryFlags): RegistryRule[] {
  const mirrors = new Map<string, string[]>();
  const add = (registry: string, mirror: string): void => {
    const place = mirror.replace(/^https?:\/\//, '').replace(/\/+$/, '');
    mirrors.set(registry, [...(mirrors.get(registry) ?? []), place]);
  };
  for (const mirror of flags['registry-mirror']) add(DEFAULT_REGISTRY, mirror);
  for (const text of flags['registry-map'].flatMap((map) => map.split(';'))) {
    if (text.trim() === '') continue;
    const [registry, mirror] = pairOf('registry-map', text.trim(), 'REGISTRY=MIRROR');
    add(registry === 'index.docker.io' ? DEFAULT_REGISTRY : registry, mirror);
  }
  return [...mirrors].map(([prefix, places]) => ({
    prefix,
    blocked: false,
    mirrors: places.map((location) => ({ location, pulls: 'all' as const })),
    mirrorsOnly: flags['skip-default-registry-fallback'],
  }));
}

/** Certificates, and where certs.d would have them. */
function certificateFiles(flags: RegistryFlags): { readonly from: string; readonly to: string }[] {
  return [
    ...flags['registry-certificate'].map((text) => {
      const [host, from] = pairOf('registry-certificate', text, 'HOST=FILE');
      return { from, to: `${host}/ca.crt` };
    }),
    ...flags['registry-client-cert'].flatMap((text) => {
      const [host, files] = pairOf('registry-client-cert', text, 'HOST=CERT,KEY');
      const [cert, key] = files.split(',');
      if (cert === undefined || key === undefined)
        throw usage(`--registry-client-cert ${text} names no key`, 'write HOST=CERT,KEY');
      return [
        { from: cert, to: `${host}/client.cert` },
        { from: key, to: `${host}/client.key` },
      ];
    }),
  ];
}

function copyCertificate(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true, mode: 0o700 });
  try {
    copyFileSync(from, to);
  } catch (error) {
    throw usage(`cannot read the certificate ${from} (${errnoOf(error) ?? 'error'})`);
  }
}

function pairOf(flag: string, text: string, form: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw usage(`invalid --${flag} ${text}`, `write ${form}`);
  return [text.slice(0, at), text.slice(at + 1)];
}
