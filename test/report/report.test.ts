import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { benchReport } from '../../src/report/bench-report';
import { escapeHtml, html } from '../../src/report/page';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith, findProgram } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const DOCKERFILE = `FROM small-base
RUN head -c 300000 /dev/zero > /big; echo keep > /keep
RUN rm /big; echo more >> /keep
COPY src /app
`;

/** Names of files that are no names where they are not escaped. */
const HOSTILE = [
  '<img src=x onerror=hacked()>',
  '<svg onload=hacked()>',
  '" onmouseover="hacked()',
  "' autofocus onfocus='hacked()",
  '--><iframe srcdoc=x>',
  'a&lt;b',
  '\u202ecod.exe',
  'x\n<b onclick=hacked()>',
];

describe('pages', () => {
  it('escape what is put into them, and only that', () => {
    expect(
      html`<p>${'<b>&"\''}</p>
        ${[html`<i>${1}</i>`, undefined]}`.text,
    ).toMatch(/^<p>&#60;b&#62;&#38;&#34;&#39;<\/p>\s*<i>1<\/i>$/);
    expect(escapeHtml('a\u202eb\x1b[2Jc')).toBe('a\ufffdb␛[2Jc');
  });
});

describeWith('the report of a build', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let file: string;
  let page: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: DOCKERFILE,
      'src/<script>alert(1)<': 'x',
      ...Object.fromEntries(HOSTILE.map((name) => [`src/${name}`, 'x'])),
      'src/plain': 'x',
    });
    await mbuild.build([context]);
    writeFiles(context, { 'src/plain': 'xyz' });
    file = join(temp.dir('report'), 'build.html');
    await mbuild.ok(['build', '--report', file, '-t', 'reported', context]);
    page = readFileSync(file, 'utf8');
  });

  it('tells steps, causes, layers, and bytes that later instructions waste', () => {
    expect(page).toContain('2 of 3</b>steps from the cache');
    expect(page).toContain('src/plain changed (+2 B)');
    expect(page).toMatch(
      /<summary>\s*<code>app\/<\/code>[^]*<code>plain<\/code>\s*<span class="soft">3B<\/span>/,
    );
    expect(page).toMatch(/<span class="bad">300kB wasted<\/span>/);
    expect(page).toMatch(
      /<code>\/big<\/code> deleted by\s*<code>RUN rm \/big; echo more &#62;&#62; \/keep<\/code>/,
    );
    expect(page).toContain('overwritten in layer 3');
  });

  it('is one file without script and network, whatever files are called', () => {
    expect(page).not.toMatch(/<script|<link|<img|https?:\/\/|url\(|@import/);
    expect(page).toContain('<code>&#60;script&#62;alert(1)&#60;</code>');
    expect(page).toContain("default-src 'none'");
  });

  it('can be written later, and for a failed build', async () => {
    expect(await mbuild.ok(['report', 'latest'])).toBe(page.trimEnd());
    await mbuild.run([
      'build',
      writeFiles(temp.dir('failing'), { Dockerfile: 'FROM small-base\nRUN exit 7\n' }),
    ]);
    expect(await mbuild.ok(['report'])).toContain('failed: RUN exited with code 7 [EXEC_FAILED]');
    const missing = await mbuild.run(['report', 'no-such-build']);
    expect([missing.code, missing.stderr]).toEqual([
      1,
      expect.stringContaining('no such build: no-such-build'),
    ]);
  });

  it('is written for benchmarks, and refuses what is none', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo bench > /a\n',
    });
    const json = join(temp.dir('bench'), 'bench.json');
    await mbuild.ok([
      'bench',
      'run',
      '-n',
      '2',
      '--mode',
      'cold',
      '--format',
      'json',
      '-o',
      json,
      context,
    ]);
    const html = await mbuild.ok(['report', json]);
    expect(html).toContain('<polyline');
    expect(html).toBe(
      benchReport(
        JSON.parse(readFileSync(json, 'utf8')) as Parameters<typeof benchReport>[0],
      ).trimEnd(),
    );
    writeFileSync(json, '{}');
    expect((await mbuild.run(['report', json])).code).toBe(125);
  });

  describeWith('in a browser', { programs: ['chromium'] }, () => {
    /** What the browser made of the page. */
    function chromium(...args: string[]): string {
      const profile = temp.dir('profile');
      const flags = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        `--user-data-dir=${profile}`,
      ];
      const result = spawnSync(findProgram('chromium') ?? 'chromium', [...flags, ...args], {
        encoding: 'utf8',
        env: cleanEnv({ HOME: profile }),
        maxBuffer: 1 << 26,
      });
      expect(result.status).toBe(0);
      return result.stdout;
    }

    it.each([1280, 390])(
      'fits a window of %i pixels, and nothing runs in it',
      (width) => {
        // The page measures itself: a frame around it has its width, and tells the width of its
        // content.
        const probe = join(temp.dir('probe'), 'probe.html');
        writeFileSync(
          probe,
          `${page.replace(/<meta\s+http-equiv[^>]*>/, '')}<script>document.title = 'content ' + document.documentElement.scrollWidth + ' of ' + innerWidth</script>`,
        );
        const frame = join(temp.dir('frame'), 'frame.html');
        writeFileSync(
          frame,
          `<iframe id="f" src="${pathToFileURL(probe).href}" style="width:${width}px;height:900px;border:0"></iframe><p id="out"></p><script>onload = () => { out.textContent = f.contentDocument.title }</script>`,
        );
        const dom = chromium(
          '--allow-file-access-from-files',
          '--virtual-time-budget=2000',
          '--dump-dom',
          pathToFileURL(frame).href,
        );
        const [, content = '', window = ''] = /content (\d+) of (\d+)/.exec(dom) ?? [];
        expect(Number(window)).toBe(width);
        expect(Number(content)).toBeLessThanOrEqual(width);
      },
      60_000,
    );

    it('makes nothing but text of the names of files', () => {
      const probe = join(temp.dir('probe'), 'probe.html');
      // Without its policy, so that only the escaping is left; the last script tells what it finds.
      writeFileSync(
        probe,
        `<script>function hacked() { document.hacked = true }</script>${page.replace(/<meta\s+http-equiv[^>]*>/, '')}<script>
          const made = [...document.querySelectorAll('main *')].filter((element) =>
            /^(SCRIPT|IMG|IFRAME|SVG)$/i.test(element.tagName) ||
            [...element.attributes].some(({ name }) => name.startsWith('on') || name === 'autofocus' || name === 'srcdoc'));
          const texts = [...document.querySelectorAll('code')].map((code) => code.textContent);
          const named = ${JSON.stringify(HOSTILE.slice(0, 6))}.filter((name) => texts.some((text) => text.includes(name)));
          document.title = 'made ' + made.length + ' hacked ' + (document.hacked === true) + ' named ' + named.length;
        </script>`,
      );
      const dom = chromium('--virtual-time-budget=2000', '--dump-dom', pathToFileURL(probe).href);
      expect(/<title>(made [^<]*)</.exec(dom)?.[1]).toBe('made 0 hacked false named 6');
    }, 60_000);

    it('is painted light, dark and for paper', () => {
      const shots = [[], ['--blink-settings=preferredColorScheme=0']].map((args) => {
        const shot = join(temp.dir('shot'), 'page.png');
        chromium(
          '--window-size=800,1200',
          `--screenshot=${shot}`,
          ...args,
          pathToFileURL(file).href,
        );
        return readFileSync(shot);
      });
      expect(shots[0]?.equals(shots[1] ?? Buffer.alloc(0))).toBe(false);
      const paper = join(temp.dir('paper'), 'page.pdf');
      chromium(`--print-to-pdf=${paper}`, pathToFileURL(file).href);
      expect(readFileSync(paper).subarray(0, 5).toString()).toBe('%PDF-');
    }, 60_000);
  });
});
