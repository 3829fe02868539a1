// What leaves the store and what enters it, against the machine's own tools.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mbuild } from './builders.mjs';
import { dockerfile } from './contexts.mjs';
import { measure } from './measure.mjs';
import { startRegistry } from './registry.mjs';

const seconds = async (argv, options) => (await measure(argv, options)).seconds;
const NO_BASE = 'there is no Debian base (it takes root and mmdebstrap)';
const NO_REGISTRY = 'docker-registry is not installed';

/** A layer compressed and written, and what the second time costs. */
export const exporting = {
  title: 'a RUN of 180 MB written as an OCI archive with gzip',
  rounds: 3,
  async setup({ scratch, debianBase }) {
    if (debianBase === undefined) return { skip: NO_BASE };
    const { own, root, newDir } = await prepare(scratch, debianBase);
    const output = `type=oci,dest=${join(scratch, 'image.tar')}`;
    return {
      sides: {
        'tar, gzip and sha256sum': () =>
          seconds([
            'sh',
            '-c',
            'tar -C "$0" -cf - usr | gzip -n | tee "$1" | sha256sum',
            root,
            join(scratch, 'layer.gz'),
          ]),
        mbuild: async () => {
          const dir = newDir();
          await measure(own.build({ dir }), own);
          return seconds(own.build({ dir, output }), own);
        },
        'mbuild again': async () => {
          const dir = newDir();
          await measure(own.build({ dir, output }), own);
          return seconds(own.build({ dir, output }), own);
        },
      },
      result: (m) => ({
        value: m['mbuild again'] / m.mbuild,
        unit: '× of the first for the second',
        goal: 0.1,
      }),
    };
  },
};

/** The same to a registry. */
export const pushing = {
  title: 'a RUN of 180 MB pushed to a registry',
  rounds: 3,
  async setup({ scratch, debianBase }) {
    if (debianBase === undefined) return { skip: NO_BASE };
    const registry = await startRegistry(join(scratch, 'registry'));
    if (registry === undefined) return { skip: NO_REGISTRY };
    const { own, root, newDir } = await prepare(scratch, debianBase);
    const tag = `${registry.host}/pushed`;
    return {
      sides: {
        'tar, gzip, sha256sum and curl': () =>
          seconds([
            'sh',
            '-c',
            UPLOAD,
            root,
            join(scratch, 'layer.gz'),
            `http://${registry.host}/v2/by-hand/blobs/uploads/`,
          ]),
        mbuild: async () => {
          await measure(own.build({ dir: newDir(), tag }), own);
          return seconds(own.push(tag), own);
        },
        'mbuild again': async () => {
          await measure(own.build({ dir: newDir(), tag }), own);
          await measure(own.push(tag), own);
          return seconds(own.push(tag), own);
        },
      },
      result: (m) => ({
        value: m['mbuild again'] / m.mbuild,
        unit: '× of the first for the second',
        goal: 0.1,
      }),
      close: registry.stop,
    };
  },
};

const UPLOAD = `touch "$0/usr/share" && tar -C "$0" -cf - usr | gzip -n | tee "$1" | sha256sum > "$1.sum" && read -r sum rest < "$1.sum" &&
  to=$(curl -sS -o /dev/null -D - -X POST "$2" | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p') &&
  curl -sS -f -T "$1" -H 'Content-Type: application/octet-stream' "$to&digest=sha256:$sum"`;

/** A Debian base from a registry into an empty store. */
export const pulling = {
  title: 'a Debian base pulled into an empty store',
  rounds: 3,
  async setup({ scratch, debianBase }) {
    if (debianBase === undefined) return { skip: NO_BASE };
    const registry = await startRegistry(join(scratch, 'registry'));
    if (registry === undefined) return { skip: NO_REGISTRY };
    const tag = `${registry.host}/debian`;
    const origin = mbuild(join(scratch, 'origin'));
    await measure(origin.import(debianBase, 'debian'), origin);
    // What was imported is kept uncompressed; registries mostly have gzip.
    const plain = dockerfile(join(scratch, 'plain'), ['FROM debian']);
    await measure(
      origin.build({
        dir: plain,
        output: `type=registry,name=${tag},compression=gzip,force-compression=true`,
      }),
      origin,
    );
    const manifest = await (
      await fetch(`http://${registry.host}/v2/debian/manifests/latest`, {
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      })
    ).json();
    const blob = `http://${registry.host}/v2/debian/blobs/${manifest.layers[0].digest}`;
    let round = 0;
    const fresh = (name) => join(scratch, `${name}-${round++}`);
    return {
      sides: {
        'curl, gunzip and tar': () => {
          const dir = fresh('tar');
          mkdirSync(dir);
          return seconds([
            'sh',
            '-c',
            'curl -sS "$0" | gunzip | tar -xp --numeric-owner --xattrs -C "$1"',
            blob,
            dir,
          ]);
        },
        mbuild: () => {
          const own = mbuild(fresh('store'));
          return seconds(own.pull(tag), own);
        },
      },
      result: (m) => ({
        value: m.mbuild / m['curl, gunzip and tar'],
        unit: '× by hand',
        goal: 1.3,
      }),
      close: registry.stop,
    };
  },
};

/** A store with a Debian base, builds of one large layer on it, and the base's files. */
async function prepare(scratch, debianBase) {
  const own = mbuild(join(scratch, 'store'));
  const root = join(scratch, 'root');
  mkdirSync(root);
  execFileSync('tar', ['-xpf', debianBase, '--numeric-owner', '-C', root]);
  await measure(own.import(debianBase, 'debian'), own);
  let count = 0;
  // A layer that was there before, times aside, would be taken again.
  const newDir = () =>
    dockerfile(join(scratch, 'copied'), [
      'FROM debian',
      `RUN cp -a /usr /usr2 && echo ${count++} > /usr2/count`,
    ]);
  return { own, root, newDir };
}
