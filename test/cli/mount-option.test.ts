import { readMount } from '../../src/cli/mount-option';

describe('--mount of a container', () => {
  it.each([
    [
      'type=bind,source=/a,target=/b,readonly',
      { source: '/a', target: '/b', readonly: true, mustExist: true },
    ],
    [
      'type=bind,src=./a,dst=/b,consistency=delegated',
      { source: './a', target: '/b', readonly: false, mustExist: true },
    ],
    [
      'source=data,destination=/d',
      { source: 'data', target: '/d', readonly: false, mustExist: false },
    ],
    [
      'type=volume,target=/d',
      { source: undefined, target: '/d', readonly: false, mustExist: false },
    ],
  ])('%s', (text, request) => {
    expect(readMount(text)).toEqual({ kind: 'volume', request });
  });

  it('a tmpfs has a size and a mode', () => {
    expect(readMount('type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770')).toEqual({
      kind: 'tmpfs',
      mount: { target: '/t', size: 64 * 1024 * 1024, mode: 0o1770 },
    });
  });

  it.each([
    ['type=bind,source=/a', 'it has no target'],
    ['type=bind,source=name,target=/b', 'needs a path'],
    ['type=volume,source=/a,target=/b', 'write type=bind'],
    ['type=bund,source=/a,target=/b', 'did you mean "bind"?'],
    ['type=bind,sorce=/a,target=/b', 'did you mean "source"?'],
    ['type=volume,source=x,target=/b,volume-opt=a=b', 'needs a volume driver'],
    ['type=tmpfs,source=/a,target=/b', 'a tmpfs has no source'],
  ])('%s is refused', (text, message) => {
    let shown = '';
    try {
      readMount(text);
    } catch (error) {
      const { message: said, hint = '' } = error as { message: string; hint?: string };
      shown = `${said} ${hint}`;
    }
    expect(shown).toContain(message);
  });
});
