import { execFileSync } from 'node:child_process';
import { createReadStream, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openContext, type ContextRequest, type OpenedContext } from '../../src/context/open';
import { useTemp, writeFiles } from '../support/temp';

const temp = useTemp();

async function opened(request: ContextRequest): Promise<OpenedContext> {
  const context = await openContext(request, temp.dir('store'));
  context.close();
  return context;
}

const directory = (path: string): ContextRequest => ({ context: { kind: 'directory', path } });

describe('opening a context', () => {
  it('takes Containerfile where there is no Dockerfile', async () => {
    const path = writeFiles(temp.dir('context'), { Containerfile: 'FROM one\n' });
    expect((await opened(directory(path))).dockerfile.text).toBe('FROM one\n');
    writeFiles(path, { Dockerfile: 'FROM two\n' });
    expect((await opened(directory(path))).dockerfile.text).toBe('FROM two\n');
  });

  it('takes an archive for its directory', async () => {
    const path = writeFiles(temp.dir('context'), { Dockerfile: 'FROM one\n', f: 'f' });
    execFileSync('tar', ['-czf', join(path, '../context.tgz'), '-C', path, '.']);
    const context = await openContext(directory(join(path, '../context.tgz')), temp.dir('store'));
    expect(context.dockerfile.text).toBe('FROM one\n');
    expect(context.tree.lstat('/f')).toBeDefined();
    context.close();
  });

  it('takes another file for the Dockerfile of its directory, unless one is named', async () => {
    const path = writeFiles(temp.dir('context'), {
      mine: 'FROM one\n',
      'd/Dockerfile': 'FROM d\n',
    });
    const context = await opened(directory(join(path, 'mine')));
    expect(context.dockerfile.text).toBe('FROM one\n');
    expect(context.tree.lstat('/d')).toBeDefined();
    await expect(
      opened({
        ...directory(join(path, 'mine')),
        dockerfile: { path: join(path, 'd/Dockerfile') },
      }),
    ).rejects.toMatchObject({ code: 'CONTEXT_NOT_FOUND' });
  });
});

describe('an ignore file that is a link', () => {
  const withLink = (target: string): string => {
    const path = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM a\n',
      'd/ignore': 'f\n',
      f: '',
    });
    symlinkSync(target, join(path, '.dockerignore'));
    return path;
  };

  it('is followed inside the context', async () => {
    const context = await opened(directory(withLink('d/ignore')));
    expect(context.tree.lstat('/f')).toBeUndefined();
    expect(context.warnings).toEqual([]);
  });

  it.each(['/etc/passwd', '../outside', 'nothing', '.dockerignore'])(
    'to %s is warned of, and refused in an archive',
    async (target) => {
      const path = withLink(target);
      const context = await opened(directory(path));
      expect(context.tree.lstat('/f')).toBeDefined();
      expect(context.warnings).toEqual([
        expect.objectContaining({ message: expect.stringContaining(`a link to ${target}`) }),
      ]);
      mkdirSync(join(path, '../out'), { recursive: true });
      const archive = join(temp.dir('archive'), 'a.tar');
      writeFileSync(archive, '');
      execFileSync('tar', ['-cf', archive, '-C', path, '.']);
      await expect(
        opened({ context: { kind: 'stream', stream: createReadStream(archive) } }),
      ).rejects.toMatchObject({ code: 'IGNORE_FILE_INVALID' });
    },
  );
});
