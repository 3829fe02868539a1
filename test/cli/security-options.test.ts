import { readSecurityOptions } from '../../src/cli/security-options';

describe('--security-opt', () => {
  test.each<[string, boolean]>([
    ['no-new-privileges', true],
    ['no-new-privileges=true', true],
    ['no-new-privileges:true', true],
    ['no-new-privileges=false', false],
  ])('%s', (option, noNewPrivileges) =>
    expect(readSecurityOptions([option])).toEqual({ noNewPrivileges, notes: [] }),
  );

  test.each([
    'seccomp=unconfined',
    'apparmor=unconfined',
    'label=disable',
    'systempaths=unconfined',
  ])('%s takes no protection away, and that is said', (option) => {
    const { noNewPrivileges, notes } = readSecurityOptions([option]);
    expect(noNewPrivileges).toBeUndefined();
    expect(notes).toEqual([expect.stringContaining(`--security-opt ${option} changes nothing:`)]);
  });

  test.each([
    ['seccomp=profile.json', /is not supported/],
    ['label=type:container_t', /is not supported/],
    ['no-new-privileges=maybe', /invalid --security-opt/],
    ['no-new-privilege', /unknown --security-opt/],
  ])('%s is refused: it would confine the container, and does not', (option, message) =>
    expect(() => readSecurityOptions([option])).toThrow(message),
  );

  test('a word that is nearly right is named', () =>
    expect(() => readSecurityOptions(['no-new-privilege'])).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('no-new-privileges') }),
    ));
});
