import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { LayeredView } from '../../src/snapshot/merged-view';
import { resolveOwner, resolveUser } from '../../src/snapshot/users';
import { makeFolder, makeTree, removeFolder } from './trees';

const PASSWD =
  'root:x:0:0:root:/root:/bin/sh\n# a comment\nbob:x:41:42::/home/bob:/bin/sh\n\nbroken line\nbig:x:99999999999:1::/:\nnohome:x:50:50::\nalias:x:41:9::/elsewhere:\nroot:x:3:3::/:';
const GROUP = 'root:x:0:\nbobs:x:42:\nroot:x:5:\ngrp:x:43:bob,other\nadm:x:44:bob\n';

describe('users of a tree', () => {
  let folder: string;
  beforeEach(() => {
    folder = makeFolder();
    mkdirSync(path.join(folder, 'etc'));
  });
  afterEach(() => removeFolder(folder));
  const view = (): LayeredView => new LayeredView([folder]);
  const withFiles = (): LayeredView => {
    makeTree(folder, { '/etc/passwd': 'f:', '/etc/group': 'f:' });
    execFileSync(
      'sh',
      ['-c', 'printf %s "$1" > etc/passwd; printf %s "$2" > etc/group', 'sh', PASSWD, GROUP],
      { cwd: folder },
    );
    return view();
  };

  test.each([
    ['bob', { uid: 41, gid: 42, groups: [43, 44], home: '/home/bob' }],
    ['41', { uid: 41, gid: 42, groups: [43, 44], home: '/home/bob' }],
    ['bob:grp', { uid: 41, gid: 43, groups: [], home: '/home/bob' }],
    ['bob:7', { uid: 41, gid: 7, groups: [], home: '/home/bob' }],
    ['1234', { uid: 1234, gid: 0, groups: [], home: '/' }],
    ['1234:grp', { uid: 1234, gid: 43, groups: [], home: '/' }],
    ['', { uid: 0, gid: 0, groups: [], home: '/root' }],
    ['nohome', { uid: 50, gid: 50, groups: [], home: '' }],
    ['alias', { uid: 41, gid: 9, groups: [], home: '/home/bob' }],
  ])('USER %s', (spec, expected) => {
    expect(resolveUser(withFiles(), spec)).toEqual(expected);
  });

  test.each([
    ['nobody', /unable to find user nobody/],
    ['bob:nogroup', /unable to find group nogroup/],
    ['99999999999', /unable to find user/],
  ])('USER %s is refused', (spec, message) => {
    expect(() => resolveUser(withFiles(), spec)).toThrow(message);
  });

  test.each([
    ['bob', { uid: 41, gid: 42, unknown: [] }],
    ['bob:grp', { uid: 41, gid: 43, unknown: [] }],
    [':43', { uid: 0, gid: 43, unknown: [] }],
    ['77', { uid: 77, gid: 77, unknown: [] }],
    ['41', { uid: 41, gid: 41, unknown: [] }],
    ['bob:', { uid: 41, gid: 0, unknown: [] }],
    ['root:root', { uid: 0, gid: 0, unknown: [] }],
    ['bob:root', { uid: 41, gid: 0, unknown: [] }],
    ['77:', { uid: 77, gid: 0, unknown: [] }],
    ['010:+5', { uid: 10, gid: 5, unknown: [] }],
    ['4294967296', { uid: 0, gid: 0, unknown: ['4294967296'] }],
    ['nobody', { uid: 0, gid: 0, unknown: ['nobody'] }],
    ['bob:nogroup', { uid: 41, gid: 42, unknown: ['nogroup'] }],
  ])('--chown=%s', (spec, expected) => {
    expect(resolveOwner(withFiles(), spec)).toEqual(expected);
  });

  test('a tree without the files knows numbers only', () => {
    expect(resolveUser(view(), '5:6')).toEqual({ uid: 5, gid: 6, groups: [], home: '/' });
    expect(resolveOwner(view(), '5')).toEqual({ uid: 5, gid: 5, unknown: [] });
  });

  test.each([
    [
      'a FIFO',
      () => execFileSync('mkfifo', [path.join(folder, 'etc/passwd')]),
      /not a regular file/,
    ],
    ['a directory', () => mkdirSync(path.join(folder, 'etc/passwd')), /not a regular file/],
    ['a device', () => makeTree(folder, { '/etc/passwd': 'c:1,5' }), /not a regular file/],
    [
      'ten gigabytes of nothing',
      () => {
        makeTree(folder, { '/etc/passwd': 'f:' });
        truncateSync(path.join(folder, 'etc/passwd'), 10 * 2 ** 30);
      },
      /larger than/,
    ],
  ])('a passwd that is %s is refused', (_, make, message) => {
    make();
    expect(() => resolveUser(view(), 'bob')).toThrow(message);
  });

  test('a passwd that links out of the tree is looked up inside it', () => {
    makeTree(folder, { '/etc/passwd': 'l:../../../../etc/shadow' });
    expect(() => resolveUser(view(), 'bob')).toThrow(/unable to find user bob/);
  });
});
