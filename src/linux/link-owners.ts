import { readdirSync } from 'node:fs';
import { MbuildError, errnoOf } from '../diagnostics/error';
import type { Owner } from './owner';
import { fsPath, toText, type RawPath } from './paths';
import { getXattr, removeXattr, setXattr } from './xattr';

/**
 * Whom the symlinks, named pipes and sockets of a directory belong to: those that are named, and
 * all others.
 */
interface LinkOwners {
  readonly rest: Owner;
  readonly named: ReadonlyMap<RawPath, Owner>;
}

const NOTE = 'user.mbuild.links';
/**
 * ext4 has four kilobytes for all attributes of a file; from here on it is worth looking for a
 * shorter way to say the same.
 */
const LONG = 1024;
const ROOT: Owner = { uid: 0, gid: 0 };

/**
 * Whom a name in a directory belongs to that can have no attribute of its own; `undefined` where
 * nothing is said.
 */
export function linkOwner(dir: RawPath, name: RawPath): Owner | undefined {
  const known = read(dir);
  return known?.named.get(name) ?? known?.rest;
}

/**
 * Says whom such a name belongs to.
 * @throws MbuildError UNSUPPORTED where a directory has too many owners for an attribute.
 */
export function setLinkOwner(dir: RawPath, name: RawPath, owner: Owner): void {
  const known: LinkOwners = read(dir) ?? { rest: ROOT, named: new Map() };
  if (isSame(known.named.get(name) ?? known.rest, owner)) return;
  const named = new Map(known.named).set(name, owner);
  if (isSame(owner, known.rest)) named.delete(name);
  const changed = { ...known, named };
  const text = format(changed);
  write(dir, text.length > LONG ? format(shortened(dir, changed)) : text);
}

/** With the commonest owner as that of all others. */
function shortened(dir: RawPath, { rest, named }: LinkOwners): LinkOwners {
  const links = readdirSync(fsPath(dir), { encoding: 'latin1', withFileTypes: true }).filter(
    (entry) => !entry.isFile() && !entry.isDirectory(),
  );
  const all = links.map(({ name }) => [name, named.get(name) ?? rest] as const);
  const counts = new Map<string, { readonly owner: Owner; count: number }>();
  for (const [, owner] of all) {
    const key = keyOf(owner);
    const seen = counts.get(key) ?? { owner, count: 0 };
    counts.set(key, { owner, count: seen.count + 1 });
  }
  const commonest = [...counts.values()].sort((a, b) => b.count - a.count)[0]?.owner ?? rest;
  return { rest: commonest, named: new Map(all.filter(([, owner]) => !isSame(owner, commonest))) };
}

function write(dir: RawPath, text: string): void {
  if (text === '') {
    removeXattr(dir, NOTE);
    return;
  }
  try {
    setXattr(dir, NOTE, Buffer.from(text, 'latin1'));
  } catch (cause) {
    const code = errnoOf(cause);
    if (code !== 'ENOSPC' && code !== 'E2BIG' && code !== 'ERANGE') throw cause;
    throw new MbuildError(
      'UNSUPPORTED',
      `the symbolic links in ${toText(dir)} have too many owners to be kept without ids of other users`,
      {
        cause,
        hint: 'as root: apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER',
      },
    );
  }
}

/**
 * `rest//owner/name/name//owner/name`: no name holds a slash or is empty, so nothing can be taken
 * for another.
 */
function format({ rest, named }: LinkOwners): string {
  const groups = new Map<string, RawPath[]>();
  for (const [name, owner] of named)
    groups.set(keyOf(owner), [...(groups.get(keyOf(owner)) ?? []), name]);
  if (groups.size === 0 && isSame(rest, ROOT)) return '';
  return [keyOf(rest), ...[...groups].map(([key, names]) => [key, ...names.sort()].join('/'))].join(
    '//',
  );
}

/** A step may have written what it likes there: what is not valid counts as nothing. */
function read(dir: RawPath): LinkOwners | undefined {
  const text = getXattr(dir, NOTE)?.toString('latin1');
  if (text === undefined) return undefined;
  const [first = '', ...groups] = text.split('//');
  const rest = parseOwner(first);
  if (rest === undefined) return undefined;
  const named = groups.flatMap((group) => {
    const [key = '', ...names] = group.split('/');
    const owner = parseOwner(key);
    return owner === undefined ? [] : names.map((name) => [name, owner] as const);
  });
  return { rest, named: new Map(named) };
}

function parseOwner(key: string): Owner | undefined {
  const [, uid, gid] = /^(\d{1,10}):(\d{1,10})$/.exec(key) ?? [];
  return uid === undefined || gid === undefined
    ? undefined
    : { uid: Number(uid), gid: Number(gid) };
}

function keyOf({ uid, gid }: Owner): string {
  return `${uid}:${gid}`;
}

function isSame(a: Owner, b: Owner): boolean {
  return a.uid === b.uid && a.gid === b.gid;
}
