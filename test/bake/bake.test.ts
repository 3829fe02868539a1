import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Mbuild, instructionSteps, plainSteps } from '../support/mbuild';
import { useTemp, writeFiles } from '../support/temp';

const LINKED = `
target "base" {
  dockerfile-inline = "FROM scratch\\nCOPY shared /shared\\n"
}
target "app" {
  name = "app\${n}"
  matrix = { n = ["1", "2"] }
  contexts = { below = "target:base" }
  args = { N = n }
  tags = ["t/app:\${n}"]
  dockerfile-inline = <<EOT
FROM below
ARG N
LABEL n=$\${N}
COPY own /own$\${N}
EOT
}
group "default" { targets = ["app"] }
`;

describe('mbuild bake', () => {
  const temp = useTemp();
  const files = (more: Readonly<Record<string, string>>): string => {
    const dir = temp.dir();
    writeFiles(dir, { shared: 'shared\n', own: 'own\n', ...more });
    return dir;
  };

  it('builds targets on others, each once, and all from the cache the second time', async () => {
    const cwd = files({ 'docker-bake.hcl': LINKED });
    const mbuild = new Mbuild(temp.dir());
    const metadata = path.join(cwd, 'metadata.json');
    const args = ['bake', '--progress=plain', '--metadata-file', metadata];
    const first = await mbuild.run(args, { cwd });
    expect(first).toMatchObject({ code: 0 });
    const names = plainSteps(first.stderr).map(({ name }) => name);
    expect(names.filter((name) => name.includes('COPY'))).toEqual([
      '[base 1/1] COPY shared /shared',
      '[app1 2/2] COPY own /own1',
      '[app2 2/2] COPY own /own2',
    ]);
    const written = JSON.parse(readFileSync(metadata, 'utf8')) as Record<string, object>;
    expect(Object.keys(written).sort()).toEqual(['app1', 'app2', 'base']);

    const image = await mbuild.inspect('t/app:2');
    expect(image.Config.Labels).toEqual({ n: '2' });
    expect(await mbuild.ok(['images', '-q'])).not.toContain('\n\n');
    expect(
      (await mbuild.ok(['images', '-a', '--format', '{{.Repository}}:{{.Tag}}']))
        .split('\n')
        .sort(),
    ).toEqual(['t/app:1', 't/app:2']);

    const second = await mbuild.run(args, { cwd });
    expect(instructionSteps(plainSteps(second.stderr)).every(({ cached }) => cached)).toBe(true);
  });

  it('ends the others when one target fails, and says which', async () => {
    const cwd = files({
      'docker-bake.hcl': `
target "good" { dockerfile-inline = "FROM scratch\\nCOPY own /\\n" }
target "bad" { dockerfile-inline = "FROM scratch\\nCOPY missing /\\n" }
group "default" { targets = ["bad", "good"] }
`,
    });
    const { stderr, code } = await new Mbuild(temp.dir()).run(['bake'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain('target bad: ');
    expect(stderr).toContain('[SOURCE_NOT_FOUND]');
  });

  it.each([
    [
      'a target that needs itself',
      'target "a" { contexts = { x = "target:a" } }',
      'depends on itself: a → a',
    ],
    [
      'a circle of targets',
      'target "a" { inherits = ["b"] }\ntarget "b" { inherits = ["a"] }',
      'inherits from itself',
    ],
    ['a name without a matrix', 'target "a" { name = "b" }', '"name" needs a matrix'],
    ['one name twice', 'target "a" { matrix = { x = ["1", "2"] } }', 'makes the name "a" twice'],
    ['a block that nobody knows', 'targt "a" {}', 'unknown block type "targt"'],
    ['text without an end', 'target "a" { context = "x }', 'no closing quotation mark'],
    ['a function that nobody has', 'target "a" { context = uper("x") }', 'did you mean "upper"?'],
    [
      'a function that needs itself',
      'function "f" {\n  params = [n]\n  result = f(n)\n}\ntarget "a" { context = f(1) }',
      'function "f" depends on itself',
    ],
    ['a wrong type', 'target "a" { tags = "x" }', '"tags" must be a list, but this is a string'],
  ])('%s is refused with the place', async (_, text, message) => {
    const cwd = files({ 'docker-bake.hcl': `${text}\n` });
    const { stderr, code } = await new Mbuild(temp.dir()).run(['bake', '--print', 'a'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).toContain('[BAKE_INVALID]');
  });

  it('names the nearest target, and files that are not there', async () => {
    const cwd = files({ 'docker-bake.hcl': 'target "webapp" {}\n' });
    const mbuild = new Mbuild(temp.dir());
    expect((await mbuild.run(['bake', '--print', 'webap'], { cwd })).stderr).toContain(
      'did you mean "webapp"?',
    );
    expect((await mbuild.run(['bake', '-f', 'no.hcl', '--print'], { cwd })).stderr).toContain(
      'no.hcl does not exist',
    );
    expect(await mbuild.run(['bake', '--set', 'webapp.tgs=x'], { cwd })).toMatchObject({
      code: 125,
    });
  });

  it('lists targets and variables', async () => {
    const cwd = files({
      'docker-bake.hcl': `
variable "V" {
  default = "1"
  description = "A version"
}
target "a" { description = "The app" }
target "_hidden" {}
group "default" { targets = ["a"] }
`,
    });
    const mbuild = new Mbuild(temp.dir());
    expect(
      JSON.parse(await mbuild.ok(['bake', '--list', 'type=targets,format=json'], { cwd })),
    ).toEqual([
      { name: 'a', description: 'The app' },
      { name: 'default', description: 'a', group: true },
    ]);
    expect(await mbuild.ok(['bake', '--list=variables', '--var', 'V=2'], { cwd })).toMatch(
      /V\s+2\s+A version/,
    );
  });

  it('does what a target calls for, and refuses a policy that it cannot evaluate', async () => {
    const inline = 'dockerfile-inline = "FROM scratch\\nCOPY own /\\n"';
    const cwd = files({
      'docker-bake.hcl': `
target "checked" {
  ${inline}
  call = "check"
  tags = ["t/checked"]
}
target "built" {
  ${inline}
  tags = ["t/built"]
}
target "guarded" {
  ${inline}
  policy = [{ filename = "x.rego" }]
}
`,
    });
    const mbuild = new Mbuild(temp.dir());
    expect(await mbuild.ok(['bake', 'checked', 'built'], { cwd })).toContain('Check complete');
    expect(await mbuild.ok(['images', '--format', '{{.Repository}}'])).toBe('t/built');
    const { code, stderr } = await mbuild.run(['bake', 'guarded'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain('target "guarded" has a policy');
  });
});
