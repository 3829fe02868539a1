import { stepEnvironment } from '../../src/solver/run-environment';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

describe('the environment of a step', () => {
  test.each<[string, string[], Record<string, string>, string[]]>([
    ['has a PATH and a HOME in any case', ['A=1'], {}, ['A=1', PATH, 'HOME=/home/u']],
    ['keeps those of the Dockerfile', ['PATH=/p', 'HOME=/h'], {}, ['PATH=/p', 'HOME=/h']],
    ['takes an empty HOME for none', ['PATH=/p', 'HOME='], {}, ['PATH=/p', 'HOME=/home/u']],
    [
      'has proxies in both spellings, before what the Dockerfile says',
      ['PATH=/p', 'HOME=/h', 'no_proxy=mine'],
      { NO_PROXY: 'given' },
      ['PATH=/p', 'HOME=/h', 'no_proxy=given', 'NO_PROXY=given'],
    ],
  ])('%s', (_, env, proxies, expected) => {
    expect(stepEnvironment(env, '/home/u', proxies)).toEqual(expected);
  });
});
