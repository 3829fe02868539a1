import { compareTars } from '../../src/verify/compare-tars';
import { END_OF_ARCHIVE } from '../../src/layer/tar/write';
import { tarOf, type Member } from '../layer/trees';

const FILE: Member = { path: 'etc/conf', content: 'one\ntwo\n', mtime: 100 };

/** Each of these is different from FILE in one field. */
const CHANGES: readonly {
  readonly field: string;
  readonly change: Partial<Member>;
  readonly first: string;
  readonly second: string;
}[] = [
  { field: 'mode', change: { mode: 0o4755 }, first: '0644', second: '4755' },
  { field: 'owner', change: { uid: 5, gid: 6 }, first: '0:0', second: '5:6' },
  {
    field: 'time',
    change: { mtime: 200 },
    first: '1970-01-01T00:01:40Z',
    second: '1970-01-01T00:03:20Z',
  },
  {
    field: 'xattr user.note',
    change: { xattrs: new Map([['user.note', Buffer.from('hi')]]) },
    first: undefined as never,
    second: '0x6869',
  },
];

/** Opens a tar that comes in odd pieces. */
function opens(
  members: readonly Member[],
  tail: Uint8Array = Buffer.alloc(0),
): () => AsyncIterable<Buffer> {
  const bytes = Buffer.concat([tarOf(...members), tail]);
  return async function* open() {
    for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
  };
}

describe('two tars of layers', () => {
  it.each(CHANGES)('differ in a file’s $field', async ({ field, change, first, second }) => {
    const found = await compareTars(opens([FILE]), opens([{ ...FILE, ...change }]), {
      ignoreTimes: false,
    });
    expect(found.files).toEqual([
      { path: '/etc/conf', kind: 'changed', fields: [{ field, first, second }] },
    ]);
  });

  it('differ in a content: told are its digest, its size and the place where it begins', async () => {
    const {
      files: [file],
    } = await compareTars(opens([FILE]), opens([{ ...FILE, content: 'one\nthree\n' }]), {
      ignoreTimes: false,
    });
    expect(file?.fields.map(({ field, at }) => [field, at])).toEqual([
      ['content', { offset: 5, first: '"wo"', second: '"hree"' }],
      ['size', undefined],
    ]);
    expect(file?.fields[0]?.first).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it('show bytes that are no text in hexadecimal, and where one ends', async () => {
    const bytes = Buffer.concat([Buffer.from('one\n'), Buffer.from([0, 255])]);
    const {
      files: [file],
    } = await compareTars(
      opens([{ ...FILE, content: 'one\n' }]),
      opens([{ ...FILE, content: bytes }]),
      { ignoreTimes: false },
    );
    expect(file?.fields[0]?.at).toEqual({ offset: 4, first: 'end of file', second: '0x00ff' });
  });

  it('differ in type and target', async () => {
    const link: Member = { path: 'a', type: 'symlink', linkPath: 'b' };
    const { files } = await compareTars(
      opens([link, { path: 'c', type: 'symlink', linkPath: 'd' }]),
      opens([
        { ...link, linkPath: 'x' },
        { path: 'c', type: 'fifo' },
      ]),
      { ignoreTimes: false },
    );
    expect(files).toEqual([
      { path: '/a', kind: 'changed', fields: [{ field: 'target', first: 'b', second: 'x' }] },
      {
        path: '/c',
        kind: 'changed',
        fields: [
          { field: 'type', first: 'symlink', second: 'fifo' },
          { field: 'target', first: 'd', second: undefined },
        ],
      },
    ]);
  });

  it('have files of their own, in the order of the tars', async () => {
    const { files } = await compareTars(
      opens([{ path: 'a' }, { path: 'b' }, { path: 'd' }]),
      opens([{ path: 'A' }, { path: 'a' }, { path: 'c' }, { path: 'd' }]),
      { ignoreTimes: false },
    );
    expect(files.map(({ path, kind }) => `${path} ${kind}`)).toEqual([
      '/A only in the second',
      '/c only in the second',
      '/b only in the first',
    ]);
  });

  it('where times do not count, files that differ in nothing else are numbered, and the others told without their times', async () => {
    const second: Member[] = [
      { ...FILE, mtime: 200 },
      { path: 'x', mtime: 200, mode: 0o600 },
    ];
    const { files, timesAlone } = await compareTars(opens([FILE, { path: 'x' }]), opens(second), {
      ignoreTimes: true,
    });
    expect(timesAlone).toBe(1);
    expect(files).toEqual([
      { path: '/x', kind: 'changed', fields: [{ field: 'mode', first: '0644', second: '0600' }] },
    ]);
  });

  it('with the same entries differ in their order, or in their form', async () => {
    const [a, b]: Member[] = [{ path: 'a' }, { path: 'b' }];
    if (a === undefined || b === undefined) throw new Error('no members');
    expect(await compareTars(opens([a, b]), opens([b, a]), { ignoreTimes: false })).toEqual({
      files: [],
      timesAlone: 0,
      written: 'in another order',
    });
    expect(
      await compareTars(opens([a, b]), opens([a, b], END_OF_ARCHIVE), { ignoreTimes: false }),
    ).toEqual({ files: [], timesAlone: 0, written: 'in another form' });
  });
});
