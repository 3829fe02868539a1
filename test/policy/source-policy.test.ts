import { evaluate, type Source } from '../../src/policy/evaluate';
import { parseSourcePolicy } from '../../src/policy/source-policy';
import { fillIn, matchWildcard } from '../../src/policy/wildcard';

const rule = (action: string, identifier: string, rest: object = {}): object => ({
  action,
  selector: { identifier },
  ...rest,
});
const used = (rules: readonly object[], source: string | Source): Source =>
  evaluate(
    parseSourcePolicy(JSON.stringify({ version: 1, rules }), 'policy.json'),
    typeof source === 'string' ? { identifier: source, attrs: {} } : source,
  );
const to = (identifier: string): object => ({ updates: { identifier } });

describe('wildcards', () => {
  it.each([
    ['a', 'a', ['a']],
    ['a', 'ab', undefined],
    ['*', 'a/b', ['a/b', 'a/b']],
    ['a*', 'a', ['a', '']],
    ['a*c*e', 'abcde', ['abcde', 'b', 'd']],
    ['a*a', 'a', undefined],
    ['*/*:1', 'x/y/z:1', ['x/y/z:1', 'x', 'y/z']],
    ['a*b', 'axbyb', ['axbyb', 'xby']],
  ])('%s and %s', (pattern, text, match) => {
    expect(matchWildcard(pattern, text)).toEqual(match);
  });

  it('take linear time', () => {
    const pattern = '*a'.repeat(2000);
    expect(matchWildcard(`${pattern}b`, 'a'.repeat(500_000))).toBeUndefined();
  });

  it('are filled in', () => {
    expect(fillIn('$1-${2}-$$1-$0', ['all', 'x', 'y'])).toBe('x-y-$1-all');
    expect(fillIn('${3}', ['all', 'x'])).toBeUndefined();
  });
});

describe('evaluation of source policies', () => {
  const image = 'docker-image://docker.io/library/debian:12';

  it('the last of ALLOW and DENY that matches decides; what nothing matches is allowed', () => {
    expect(used([], image).identifier).toBe(image);
    expect(used([rule('DENY', '*alpine*')], image).identifier).toBe(image);
    expect(
      used([rule('DENY', 'docker-image://*'), rule('ALLOW', '*debian*')], image).identifier,
    ).toBe(image);
    expect(() =>
      used([rule('ALLOW', '*debian*'), rule('DENY', 'docker-image://*')], image),
    ).toThrow(
      'the source policy policy.json denies docker-image://docker.io/library/debian:12: rule 2, docker-image://*',
    );
  });

  it('CONVERT begins anew with what it made, and ends where nothing changes', () => {
    const rules = [
      rule('CONVERT', 'docker-image://docker.io/library/*', to('docker-image://mirror/${1}')),
      rule('CONVERT', 'docker-image://mirror/*', to('docker-image://mirror/$1')),
      rule('DENY', '*docker.io*'),
    ];
    expect(used(rules, image).identifier).toBe('docker-image://mirror/debian:12');
    expect(() =>
      used([rule('CONVERT', 'docker-image://*', to('docker-image://x/$1'))], image),
    ).toThrow('without an end');
    expect(() => used([rule('CONVERT', 'docker-image://*', to('$2'))], image)).toThrow(
      'more stars than its identifier has',
    );
  });

  it('attributes are set and asked for', () => {
    const source = { identifier: 'https://x/f', attrs: {} };
    const attrs = { 'http.checksum': 'sha256:1' };
    expect(used([rule('CONVERT', 'https://x/f', { updates: { attrs } })], source).attrs).toEqual(
      attrs,
    );
    const asked = (condition: string): object => ({
      action: 'DENY',
      selector: {
        identifier: 'https://*',
        constraints: [{ key: 'http.checksum', value: '', condition }],
      },
    });
    expect(() => used([asked('EQUAL')], source)).toThrow('denies https://x/f');
    expect(used([asked('NOTEQUAL')], source)).toEqual(source);
  });

  it('numbers stand for words, as in protobuf', () => {
    expect(() =>
      used([{ action: 1, selector: { identifier: image, matchType: 1 } }], image),
    ).toThrow('denies');
  });
});

describe('policies that cannot be evaluated', () => {
  it.each([
    ['{', 'it is not valid JSON'],
    ['[]', 'the policy is not an object'],
    ['{"rules": {}}', 'its rules are not a list'],
    ['{"version": 2}', 'it has version 2'],
    ['{"rule": []}', 'the policy has a member "rule"'],
    [
      '{"rules": [{"action": "REFUSE", "selector": {"identifier": "*"}}]}',
      'the action of rule 1 is "REFUSE"',
    ],
    ['{"rules": [{"action": 7, "selector": {"identifier": "*"}}]}', 'the action of rule 1 is 7'],
    ['{"rules": [{"action": "DENY"}]}', 'the selector of rule 1 is not an object'],
    ['{"rules": [{"action": "DENY", "selector": {}}]}', 'the identifier of rule 1 is not a text'],
    [
      '{"rules": [{"action": "DENY", "selector": {"identifier": ".*", "matchType": "REGEX"}}]}',
      'regular expressions',
    ],
    [
      '{"rules": [{"action": "DENY", "selector": {"identifier": "*", "constraints": [{"key": "http.checksum", "condition": "MATCHES"}]}}]}',
      'regular expressions',
    ],
    [
      '{"rules": [{"action": "DENY", "selector": {"identifier": "*", "constraints": [{"key": "git.x"}]}}]}',
      '"git.x", which mbuild does not know',
    ],
    ['{"rules": [{"action": "CONVERT", "selector": {"identifier": "*"}}]}', 'does not say to what'],
    [
      '{"rules": [{"action": "CONVERT", "selector": {"identifier": "*"}, "updates": {"attrs": {"a": "b"}}}]}',
      '"a", which mbuild does not know',
    ],
    ['{"rules": [null]}', 'rule 1 is not an object'],
  ])('%s', (text, message) => {
    expect(() => parseSourcePolicy(text, 'p')).toThrow(message);
  });
});
