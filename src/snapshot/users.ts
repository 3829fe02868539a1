import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { fsPath, toText, type RawPath } from '../linux/paths';
import type { MergedView } from './view';

/** Who a process runs as. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, ascending; without `gid`. */
  readonly groups: readonly number[];
  /**
   * Of the first in passwd with that number, even if it is empty; `/` for one that is not in it.
   */
  readonly home: string;
}

/** Who owns what COPY writes. */
export interface ResolvedOwner {
  readonly uid: number;
  readonly gid: number;
  /** Names that the tree does not know: they stand for 0, as in BuildKit; worth a warning. */
  readonly unknown: readonly string[];
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}
interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

// As runc: ids are 31 bits.
const MAX_ID = 2 ** 31 - 1;
// A hostile image may make its passwd sparse and huge; real ones are kilobytes.
const MAX_FILE = 4 * 1024 * 1024;

/**
 * The user of `USER user[:group]` as the tree's own /etc/passwd and /etc/group define it. A number
 * need not be in them. Supplementary groups are those that list the user, unless a group is given.
 * @throws MbuildError USER_NOT_FOUND naming what is missing.
 */
export function resolveUser(view: MergedView, spec: string): ResolvedUser {
  const [user, group] = splitSpec(spec);
  const passwd = readPasswd(view);
  const groups = readGroups(view);
  const entry =
    user === ''
      ? passwd.find(({ uid }) => uid === 0)
      : passwd.find(({ name, uid }) => name === user || String(uid) === user);
  const uid = user === '' ? 0 : (entry?.uid ?? numericId(user));
  if (uid === undefined) throw notFound('user', user, 'passwd');
  const base = { uid, home: passwd.find((other) => other.uid === uid)?.home ?? '/' };

  if (group !== undefined && group !== '') {
    const gid =
      groups.find(({ name, gid }) => name === group || String(gid) === group)?.gid ??
      numericId(group);
    if (gid === undefined) throw notFound('group', group, 'group');
    return { ...base, gid, groups: [] };
  }
  const gid = entry?.gid ?? 0;
  const listed = groups
    .filter(({ members }) => entry !== undefined && members.includes(entry.name))
    .map((item) => item.gid);
  return {
    ...base,
    gid,
    groups: [...new Set(listed)].filter((id) => id !== gid).sort((a, b) => a - b),
  };
}

/**
 * The owner of `--chown=user[:group]`; `root` is 0 whatever the tree says. A user without a group
 * brings the group of passwd, a number that of the same number, and a group that is empty is 0, as
 * in BuildKit (util/system and solver/llbsolver/file, "user_linux.go").
 */
export function resolveOwner(view: MergedView, spec: string): ResolvedOwner {
  const [user, group] = splitSpec(spec);
  const unknown: string[] = [];
  let uid = 0;
  let gid = 0;
  const userId = ownerId(user);
  if (userId !== undefined) {
    uid = userId;
    gid = userId;
  } else if (user !== '') {
    const entry = readPasswd(view).find(({ name }) => name === user);
    if (entry === undefined) unknown.push(user);
    uid = entry?.uid ?? 0;
    gid = entry?.gid ?? 0;
  }
  if (group === undefined) return { uid, gid, unknown };
  const groupId = group === '' ? 0 : ownerId(group);
  if (groupId !== undefined) return { uid, gid: groupId, unknown };
  const entry = readGroups(view).find(({ name }) => name === group);
  if (entry === undefined) unknown.push(group);
  return { uid, gid: entry?.gid ?? gid, unknown };
}

function splitSpec(spec: string): [user: string, group: string | undefined] {
  const colon = spec.indexOf(':');
  return colon < 0 ? [spec, undefined] : [spec.slice(0, colon), spec.slice(colon + 1)];
}

/** Whether `--chown` needs a tree to look names up in. */
export function namesOwner(spec: string): boolean {
  return splitSpec(spec).some(
    (part) => part !== undefined && part !== '' && ownerId(part) === undefined,
  );
}

/** An id of `--chown`: what fits no signed 32 bits is a name, which nobody has. */
function ownerId(text: string): number | undefined {
  if (text === 'root') return 0;
  return /^\+?[0-9]{1,12}$/.test(text) && Number(text) <= MAX_ID ? Number(text) : undefined;
}

function numericId(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  if (id > MAX_ID)
    throw new MbuildError(
      'USER_NOT_FOUND',
      `${text} is not a user or group id: ids end at ${MAX_ID}`,
    );
  return id;
}

function notFound(what: string, name: string, file: string): MbuildError {
  return new MbuildError(
    'USER_NOT_FOUND',
    `unable to find ${what} ${name}: no matching entry in the image's /etc/${file}`,
    {
      hint: `create it in an earlier RUN, or write its number`,
    },
  );
}

function readPasswd(view: MergedView): PasswdEntry[] {
  return fieldsOf(view, '/etc/passwd').flatMap(([name = '', , uid, gid, , home = '']) => {
    const entry = { name, uid: parseId(uid), gid: parseId(gid), home };
    return entry.uid === undefined ? [] : [{ ...entry, uid: entry.uid, gid: entry.gid ?? 0 }];
  });
}

function readGroups(view: MergedView): GroupEntry[] {
  return fieldsOf(view, '/etc/group').flatMap(([name = '', , gid, members = '']) => {
    const id = parseId(gid);
    return id === undefined
      ? []
      : [{ name, gid: id, members: members.split(',').map((member) => member.trim()) }];
  });
}

function parseId(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,10}$/.test(text) && Number(text) <= MAX_ID
    ? Number(text)
    : undefined;
}

function fieldsOf(view: MergedView, path: RawPath): string[][] {
  const text = readSmallFile(view, path);
  return (text ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

/**
 * Text of a file in the tree; `undefined` when there is none. Only a regular file of bounded size
 * is opened: not a FIFO, a device or a directory.
 */
function readSmallFile(view: MergedView, path: RawPath): string | undefined {
  const entry = view.stat(path);
  if (entry === undefined) return undefined;
  if (!entry.stats.isFile())
    throw new MbuildError('IMAGE_INVALID', `${toText(path)} in the image is not a regular file`);
  // O_NONBLOCK and the check after opening: what was a file a moment ago may be a FIFO now.
  const fd = openFile(entry.hostPath);
  if (fd === undefined) return undefined;
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile())
      throw new MbuildError('IMAGE_INVALID', `${toText(path)} in the image is not a regular file`);
    if (stats.size > MAX_FILE)
      throw new MbuildError(
        'LIMIT_EXCEEDED',
        `${toText(path)} in the image is larger than ${MAX_FILE} bytes`,
      );
    const bytes = Buffer.alloc(stats.size);
    let length = 0;
    for (let read = -1; length < bytes.length && read !== 0; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, length);
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}

function openFile(hostPath: RawPath): number | undefined {
  try {
    return openSync(
      fsPath(hostPath),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
