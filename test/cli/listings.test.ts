import {
  filterImages,
  imageRows,
  imagesShape,
  parseImageFilter,
  referenceTest,
  untilTime,
} from '../../src/cli/format/images';
import { historyRows, historyShape } from '../../src/cli/format/history';
import { inspectImage } from '../../src/cli/format/inspect';
import { renderList } from '../../src/cli/format/list';
import { parseTemplate } from '../../src/cli/format/go-template';
import { goJson } from '../../src/cli/format/go-value';
import { NOW, diffId, makeImage, makeLayers } from './fixtures';

const digest = `sha256:${'d'.repeat(64)}`;
const diffIds = [diffId('a'), diffId('b'), diffId('c')];
const layers = makeLayers(diffIds, [1_984_399, 1_982_256, 358]);
const app = makeImage(
  '4483fae84cb7',
  {
    created: '2026-11-21T01:54:41.683430564Z',
    rootfs: { type: 'layers', diff_ids: diffIds },
    config: {
      Env: ['PATH=/bin', 'A=b'],
      Cmd: ['sh', '-c', 'echo hi'],
      WorkingDir: '/app',
      Labels: { x: 'y' },
      Volumes: { '/data': {} },
      Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5e9 },
    },
    history: [
      { created: '2026-11-21T01:38:02Z', comment: 'Imported from -' },
      {
        created: '2026-11-21T01:54:41Z',
        created_by: 'ENV A=b C=d e',
        comment: 'buildkit.dockerfile.v0',
        empty_layer: true,
      },
      {
        created: '2026-11-21T01:54:41Z',
        created_by: 'COPY /bin/sh /x/ # buildkit',
        comment: 'buildkit.dockerfile.v0',
      },
      {
        created: '2026-11-21T01:54:41Z',
        created_by:
          "RUN /bin/sh -c printf '\\033[31mred\\033[0m\\rover\\n\\ttab\\n'; echo err >&2 # buildkit",
        comment: 'buildkit.dockerfile.v0',
      },
      {
        created: '2026-11-21T01:54:41Z',
        created_by: 'CMD ["sh" "-c" "echo hi"]',
        comment: 'buildkit.dockerfile.v0',
        empty_layer: true,
      },
    ],
  },
  ['docker.io/library/clitest:1', 'docker.io/library/clitest:2'],
);
const base = makeImage(
  '3206b84ac177',
  { created: '2026-11-21T01:38:02Z', rootfs: { type: 'layers', diff_ids: diffIds.slice(0, 1) } },
  ['127.0.0.1:5000/busybox:latest'],
  [`127.0.0.1:5000/busybox@${digest}`],
);
const dangling = makeImage('eeee84ac1777', {});
const all = [base, dangling, app];
const options = { noTrunc: false, now: NOW };

function images(format?: string, given = all, digests = false): string[] {
  return renderList(imagesShape(digests), imageRows(given, layers, options), format)
    .split('\n')
    .slice(0, -1);
}

describe('images', () => {
  test('the default table has a row per name, the latest image first', () => {
    expect(images()).toEqual([
      'REPOSITORY               TAG       IMAGE ID       CREATED          SIZE',
      'clitest                  1         4483fae84cb7   5 minutes ago    3.97MB',
      'clitest                  2         4483fae84cb7   5 minutes ago    3.97MB',
      '127.0.0.1:5000/busybox   latest    3206b84ac177   21 minutes ago   1.98MB',
      '<none>                   <none>    eeee84ac1777   N/A              0B',
    ]);
  });

  test('an empty list has its headings', () => {
    expect(images(undefined, [])).toEqual(['REPOSITORY   TAG       IMAGE ID   CREATED   SIZE']);
  });

  test('--digests has a column more', () => {
    expect(images(undefined, [base], true)).toEqual([
      'REPOSITORY               TAG       DIGEST                                                                    IMAGE ID       CREATED          SIZE',
      `127.0.0.1:5000/busybox   latest    ${digest}   3206b84ac177   21 minutes ago   1.98MB`,
    ]);
  });

  test.each([
    ['table {{.ID}}', ['IMAGE ID', '4483fae84cb7', '4483fae84cb7']],
    ['table   {{.ID}}', ['IMAGE ID', '4483fae84cb7', '4483fae84cb7']],
    [
      'table {{.Repository}}\\t{{.ID}}\\t{{.CreatedAt}}',
      [
        'REPOSITORY   IMAGE ID       CREATED AT',
        ...Array<string>(2).fill('clitest      4483fae84cb7   2026-11-21 01:54:41 +0000 UTC'),
      ],
    ],
    ['table {{upper .Repository}}:{{.Tag}}', ['REPOSITORY:TAG', 'CLITEST:1', 'CLITEST:2']],
    [
      'table {{.ID}} {{.Repository}}\\t{{.Tag}}',
      ['IMAGE ID REPOSITORY    TAG', '4483fae84cb7 clitest   1', '4483fae84cb7 clitest   2'],
    ],
    ['{{.Repository}}:{{.Tag}}\\t{{.Size}}', ['clitest:1\t3.97MB', 'clitest:2\t3.97MB']],
    ['{{json .ID}}', ['"4483fae84cb7"', '"4483fae84cb7"']],
    ['pretty', ['pretty', 'pretty']],
  ])('--format %s', (format, expected) => {
    expect(images(format, [app])).toEqual(expected);
  });

  test('--format json has a line per row, sorted and escaped as docker does', () => {
    expect(images('json', [base]).concat(images('{{json .}}x', [dangling]))).toEqual([
      `{"Containers":"N/A","CreatedAt":"2026-11-21 01:38:02 +0000 UTC","CreatedSince":"21 minutes ago","Digest":"${digest}","ID":"3206b84ac177","Repository":"127.0.0.1:5000/busybox","SharedSize":"N/A","Size":"1.98MB","Tag":"latest","UniqueSize":"N/A","VirtualSize":"1.984MB"}`,
      expect.stringContaining('"Digest":"\\u003cnone\\u003e"') as string,
    ]);
  });

  test.each([
    [['dangling=true'], ['eeee84ac1777']],
    [['dangling=false'], ['3206b84ac177', '4483fae84cb7']],
    [['label=x'], ['4483fae84cb7']],
    [['label=x=y'], ['4483fae84cb7']],
    [['label=x=z'], []],
    [['before=clitest:1'], ['3206b84ac177', 'eeee84ac1777']],
    [['since=127.0.0.1:5000/busybox'], ['4483fae84cb7']],
    [['reference=clitest'], ['4483fae84cb7']],
    [['reference=cli*:2'], ['4483fae84cb7']],
    [
      ['reference=*/busybox', 'reference=clitest:1'],
      ['3206b84ac177', '4483fae84cb7'],
    ],
    [['until=10m', 'dangling=false'], ['3206b84ac177']],
    [['until=2026-11-21T01:38:02Z', 'dangling=false'], []],
  ])('--filter %j', (filters, ids) => {
    const find = (name: string) => (name.startsWith('clitest') ? app : base);
    expect(
      filterImages(all, filters.map(parseImageFilter), find, NOW).map((image) =>
        image.id.slice(7, 19),
      ),
    ).toEqual(ids);
  });

  test.each([
    ['foo=bar', "invalid filter 'foo'"],
    ['dangling', 'expected name=value'],
    ['dangling=maybe', 'neither true nor false'],
    ['until=x', 'neither a time'],
    ['before=nothing', 'no such image: nothing'],
  ])('the filter %s is refused', (filter, message) => {
    expect(() => filterImages(all, [parseImageFilter(filter)], () => undefined, NOW)).toThrow(
      message,
    );
  });

  test.each([
    ['24h', NOW - 864e5],
    ['1h30m', NOW - 54e5],
    ['1700000000', 17e11],
    ['2026-01-01', Date.UTC(2026, 0, 1)],
  ])('until=%s is a time', (text, time) => {
    expect(untilTime(text, NOW)).toBe(time);
  });

  test.each([
    ['node', '127.0.0.1:5000/node:20', false],
    ['127.0.0.1:5000/node', '127.0.0.1:5000/node:20', true],
    ['127*/*:20', '127.0.0.1:5000/node:20', true],
    ['*', 'docker.io/library/a:1', true],
    ['*', 'docker.io/x/a:1', false],
    ['debian:1[12]', 'docker.io/library/debian:12', true],
    ['docker.io/library/debian:12', 'docker.io/library/debian:12', true],
    ['a.b', 'docker.io/library/axb:1', false],
  ])('reference=%s meets %s: %p', (pattern, name, expected) => {
    expect(referenceTest(pattern)(name)).toBe(expected);
  });
});

describe('history', () => {
  function history(
    given: Partial<Parameters<typeof historyRows>[2]> = {},
    format?: string,
  ): string[] {
    const full = { noTrunc: false, human: true, now: NOW, ...given };
    return renderList(historyShape(full.human), historyRows(app, layers, full), format)
      .split('\n')
      .slice(0, -1);
  }

  test('the latest entry stands first and has the id; sizes belong to entries with a layer', () => {
    expect(history()).toEqual([
      'IMAGE          CREATED          CREATED BY                                      SIZE      COMMENT',
      '4483fae84cb7   5 minutes ago    CMD ["sh" "-c" "echo hi"]                       0B        buildkit.dockerfile.v0',
      "<missing>      5 minutes ago    RUN /bin/sh -c printf '\\033[31mred\\033[0m\\ro…   358B      buildkit.dockerfile.v0",
      '<missing>      5 minutes ago    COPY /bin/sh /x/ # buildkit                     1.98MB    buildkit.dockerfile.v0',
      '<missing>      5 minutes ago    ENV A=b C=d e                                   0B        buildkit.dockerfile.v0',
      '<missing>      21 minutes ago                                                   1.98MB    Imported from -',
    ]);
  });

  test('--human=false has bytes and times', () => {
    expect(history({ human: false }).slice(0, 3)).toEqual([
      'IMAGE          CREATED AT             CREATED BY                                      SIZE      COMMENT',
      '4483fae84cb7   2026-11-21T01:54:41Z   CMD ["sh" "-c" "echo hi"]                       0         buildkit.dockerfile.v0',
      "<missing>      2026-11-21T01:54:41Z   RUN /bin/sh -c printf '\\033[31mred\\033[0m\\ro…   358       buildkit.dockerfile.v0",
    ]);
  });

  test('--no-trunc has everything', () => {
    expect(history({ noTrunc: true })[2]).toBe(
      `<missing>                                                                 5 minutes ago    RUN /bin/sh -c printf '\\033[31mred\\033[0m\\rover\\n\\ttab\\n'; echo err >&2 # buildkit   358B      buildkit.dockerfile.v0`,
    );
  });

  test('--format json', () => {
    expect(history({}, 'json')[0]).toBe(
      '{"Comment":"buildkit.dockerfile.v0","CreatedAt":"2026-11-21T01:54:41Z","CreatedBy":"CMD [\\"sh\\" \\"-c\\" \\"echo hi\\"]","CreatedSince":"5 minutes ago","ID":"4483fae84cb7","Size":"0B"}',
    );
  });

  test('layers without an entry are listed all the same', () => {
    const bare = makeImage('aaaa', { rootfs: { type: 'layers', diff_ids: diffIds } });
    expect(
      historyRows(bare, layers, { noTrunc: false, human: true, now: NOW }).map(
        (row) => row['Size'],
      ),
    ).toEqual(['358B', '1.98MB', '1.98MB']);
  });
});

describe('inspect', () => {
  test("has docker's members in docker's order", () => {
    const json = JSON.parse(goJson(inspectImage(app, layers))) as Record<string, unknown>;
    expect(Object.keys(json)).toEqual([
      'Id',
      'RepoTags',
      'RepoDigests',
      'Parent',
      'Comment',
      'Created',
      'DockerVersion',
      'Author',
      'Architecture',
      'Os',
      'Size',
      'GraphDriver',
      'RootFS',
      'Metadata',
      'Descriptor',
      'Config',
    ]);
    expect(json).toMatchObject({
      Id: app.id,
      RepoTags: ['clitest:1', 'clitest:2'],
      RepoDigests: [],
      Comment: 'buildkit.dockerfile.v0',
      Size: 3_967_013,
      RootFS: { Type: 'layers', Layers: diffIds },
    });
    expect(json['Config']).toEqual({
      Cmd: ['sh', '-c', 'echo hi'],
      Entrypoint: null,
      Env: ['PATH=/bin', 'A=b'],
      Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5e9 },
      Labels: { x: 'y' },
      OnBuild: null,
      User: '',
      Volumes: { '/data': {} },
      WorkingDir: '/app',
    });
  });

  test.each([
    [
      '{{.Config.User}}|{{.Config.StopSignal}}|{{.Config.Healthcheck.Interval}}|{{.Config.Healthcheck.Timeout}}',
      '||5s|0s',
    ],
    [
      '{{.Config.Entrypoint}} {{json .Config.Entrypoint}} {{json .Config.Healthcheck}}',
      '[] null {"Test":["CMD-SHELL","true"],"Interval":5000000000}',
    ],
    ['{{index .Config.Labels "x"}} {{.Config.Labels.x}} {{len .RootFS.Layers}}', 'y y 3'],
    ['{{range .RepoTags}}{{.}} {{end}}', 'clitest:1 clitest:2 '],
  ])('--format %s', (format, expected) => {
    expect(parseTemplate(format).execute(inspectImage(app, layers))).toBe(expected);
  });
});
