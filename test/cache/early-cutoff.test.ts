import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const KEPT = 'same result as before, kept';

describeWith('a step that leaves what was there before', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  function write(files: Record<string, string>): void {
    context = writeFiles(temp.dir('context'), files);
  }

  function edit(from: string, to: string): void {
    const file = join(context, 'Dockerfile');
    writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
  }

  /** How each step came about, by its keyword and place, and the image's layers. */
  async function build(
    ...args: string[]
  ): Promise<{ steps: string[]; layers: string[]; id: string }> {
    const { steps, id } = await mbuild.build([...args, context]);
    const { RootFS } = await mbuild.inspect(id);
    return {
      id,
      layers: RootFS.Layers,
      steps: instructionSteps(steps).map((step) =>
        step.cached ? 'cached' : step.log.includes(KEPT) ? 'kept' : 'run',
      ),
    };
  }

  it('keeps the earlier layer when its command was edited, and what follows is not run again', async () => {
    write({ Dockerfile: 'FROM small-base\nRUN echo edited > /a\nRUN cat /a > /b\n' });
    const first = await build();
    edit('echo edited', 'printf "edited\\n"');
    const second = await build();
    expect(second.steps).toEqual(['kept', 'cached']);
    expect(second.layers).toEqual(first.layers);
    edit('printf "edited', 'printf "other');
    const third = await build();
    expect(third.steps).toEqual(['run', 'run']);
    expect(third.layers.at(-1)).not.toBe(first.layers.at(-1));
  });

  it('keeps it when only a variable changed that it does not use', async () => {
    write({
      Dockerfile: 'FROM small-base\nARG COMMIT=1\nRUN echo variable > /a\nRUN cat /a > /b\n',
    });
    const first = await build();
    const second = await build('--build-arg', 'COMMIT=2');
    // The variable is in scope of every RUN, so each is run; each finds its earlier result.
    expect(second.steps).toEqual(['kept', 'kept']);
    expect(second.layers).toEqual(first.layers);
  });

  it('gives the same image when everything is built anew', async () => {
    write({
      Dockerfile: 'FROM small-base\nRUN echo anew > /a\nCOPY Dockerfile /\nRUN cat /a > /b\n',
    });
    const first = await build();
    const second = await build('--no-cache');
    expect(second.steps).toEqual(['kept', 'kept', 'kept']);
    expect(second.id).toBe(first.id);
  });

  it('keeps a copy whose sources differ only in what --chmod makes alike', async () => {
    write({
      Dockerfile: 'FROM small-base\nCOPY --chmod=755 tool /tool\nRUN cat /tool\n',
      tool: `tool ${Math.random()}\n`,
    });
    chmodSync(join(context, 'tool'), 0o644);
    await build();
    chmodSync(join(context, 'tool'), 0o664);
    expect((await build()).steps).toEqual(['kept', 'cached']);
  });

  it('keeps a step that a mounted file, which it does not read, would have it run again', async () => {
    write({
      Dockerfile: 'FROM small-base\nRUN --mount=target=/mnt cat /mnt/used > /a\nRUN cat /a > /b\n',
      used: 'used\n',
      other: '1',
    });
    await build();
    writeFiles(context, { other: '2' });
    expect((await build()).steps).toEqual(['kept', 'cached']);
  });

  it('lets another stage hit that copies from it, though it was built to something else besides', async () => {
    write({
      Dockerfile:
        'FROM small-base AS tools\nRUN echo tool > /tool; echo 1 > /log\nFROM small-base\nCOPY --from=tools /tool /tool\nRUN cat /tool > /copy\n',
    });
    await build();
    edit('echo 1', 'echo 2');
    expect((await build()).steps).toEqual(['run', 'cached', 'cached']);
  });

  it('does not take a step that left nothing for one that left something', async () => {
    write({ Dockerfile: 'FROM small-base\nRUN echo something > /a\nRUN ls /\n' });
    await build();
    edit('echo something > /a', 'true');
    const empty = await build();
    expect(empty.steps).toEqual(['run', 'run']);
    edit('RUN true', 'RUN : nothing either');
    expect((await build()).steps).toEqual(['run', 'cached']);
  });
});
