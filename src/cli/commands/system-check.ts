import path from 'node:path';
import { visible } from '../../diagnostics/visible';
import type { CacheRecord } from '../../cache/record';
import type { Engine } from '../../engine';
import { checkStore, findOrphans, type CheckResult, type Problem } from '../../images/store/check';
import type { Host } from '../host';
import { defineCommand } from '../command';
import { collectGarbage, garbageRoots, withServices } from '../services';

export const command = defineCommand({
  name: 'system check',
  summary: 'Check everything in the store, and repair it',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    repair: {
      kind: 'boolean',
      help: 'Repair what can be repaired, set the rest aside, and remove leftovers of ended processes',
    },
  },
  notes: ['Every byte is read. The exit code is 1 if something is wrong and was not repaired.'],
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      const checked = await checkStore(services, host.signal);
      const problems = [
        ...checked.problems,
        ...checkCache(services, checked),
        ...(await checkContainers(services, checked)),
      ];
      for (const { subject, message } of problems)
        host.out.write(`${visible(`${subject} ${message}`)}\n`);
      for (const { subject, error } of checked.unread)
        host.out.write(`${visible(`${subject} could not be checked: ${error.message}`)}\n`);
      const orphans = findOrphans(services, await garbageRoots(services));
      for (const orphan of orphans)
        host.out.write(`${visible(orphan)} was left by a process that has ended\n`);
      if (flags.repair) await repair(problems, services, host);
      const { blobs, layers, images } = checked.counts;
      host.out.write(
        `Checked ${blobs} blobs, ${layers} layers, ${images} images: ${summary(problems.length, orphans.length, checked.unread.length, flags.repair)}\n`,
      );
      return checked.unread.length > 0 || (problems.length > 0 && !flags.repair) ? 1 : 0;
    }),
});

function summary(problems: number, orphans: number, unread: number, repaired: boolean): string {
  const unknown = unread === 0 ? '' : `; ${unread} could not be checked`;
  if (problems + orphans === 0) return unread === 0 ? 'nothing is wrong' : unknown.slice(2);
  const found = [
    ...(problems === 0 ? [] : [`${problems} problem${problems === 1 ? '' : 's'}`]),
    ...(orphans === 0 ? [] : [`${orphans} leftover${orphans === 1 ? '' : 's'}`]),
  ].join(' and ');
  return repaired
    ? `${found} repaired${unknown}`
    : `${found}; repair it with 'mbuild system check --repair'${unknown}`;
}

/**
 * Records of the build cache whose layers are not there, or damaged: their steps would be run
 * again.
 */
function checkCache({ cache, layers }: Engine, { sound }: CheckResult): Problem[] {
  return cache.list().flatMap((record: CacheRecord): Problem[] => {
    const { key, layer } = record;
    if (layer === undefined || sound.has(layer.chainId)) return [];
    return [
      {
        subject: `cache record ${key}`,
        message: `lacks its layer ${layer.diffId}, or it is damaged`,
        repair: () =>
          layers.get(layer.chainId) === undefined ? void cache.delete(key) : undefined,
      },
    ];
  });
}

async function checkContainers(
  { root, layers, snapshots }: Engine,
  { sound }: CheckResult,
): Promise<Problem[]> {
  const ids = new Set([...sound].flatMap((chain) => layers.get(chain)?.id ?? []));
  const unreadable: Problem[] = [];
  const { ContainerStore } = await import('../../containers/store');
  const containers = new ContainerStore(root).list((id, why) =>
    unreadable.push({
      subject: `container ${id}`,
      message: `cannot be read: ${why.message}`,
      repair: () => `remove it with 'rm -r ${path.join(root, 'containers', id)}'`,
    }),
  );
  const broken = containers.flatMap(({ record }): Problem[] => {
    if (record.image.stack.every((id) => ids.has(id))) return [];
    return [
      {
        subject: `container ${record.name}`,
        message: 'is based on a layer that is missing or damaged',
        repair: () =>
          record.image.stack.every((id) => snapshots.list().includes(id))
            ? undefined
            : 'remove it and create it again',
      },
    ];
  });
  return [...unreadable, ...broken];
}

async function repair(problems: readonly Problem[], services: Engine, host: Host): Promise<void> {
  for (const { subject, repair: putRight } of problems) {
    const remedy = await putRight();
    if (remedy !== undefined) host.out.write(`${visible(`${subject}: ${remedy}`)}\n`);
  }
  await collectGarbage(services);
}
