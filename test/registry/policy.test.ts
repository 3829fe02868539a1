import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseReference } from '../../src/oci/reference';
import { policyOf, type ImageOrigin } from '../../src/registry/policy';

const ACCEPT = [{ type: 'insecureAcceptAnything' }];
const REJECT = [{ type: 'reject' }];
const SIGNED = [{ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/etc/pki/key' }];
/** What RHEL and Fedora come with. */
const STOCK = {
  default: ACCEPT,
  transports: {
    docker: {
      'registry.access.redhat.com': SIGNED,
      'registry.redhat.io': SIGNED,
    },
    'docker-daemon': { '': ACCEPT },
  },
};

let home: string;
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'mbuild-policy-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

function originOf(name: string): ImageOrigin {
  if (name.startsWith('/')) return { transport: 'oci', file: name };
  if (name.endsWith('.tar')) return { transport: 'docker-archive', file: name };
  const ref = parseReference(name);
  if (ref === undefined) throw new Error(name);
  return { transport: 'docker', ref };
}

function write(policy: unknown): string {
  const file = path.join(home, 'policy.json');
  writeFileSync(file, typeof policy === 'string' ? policy : JSON.stringify(policy));
  return file;
}

describe('a policy', () => {
  it.each<[unknown, string, true | RegExp]>([
    [STOCK, 'alpine', true],
    [STOCK, 'quay.io/a/b', true],
    [STOCK, 'registry.access.redhat.com/ubi9', /"docker\/registry.access.redhat.com".*"signedBy"/],
    [STOCK, 'image.tar', true],
    [{ default: REJECT }, 'alpine', /rejects alpine:latest: its rule "default"/],
    [{ default: REJECT }, 'image.tar', /rejects image.tar/],
    [{ default: REJECT, transports: { docker: { 'docker.io': ACCEPT } } }, 'alpine', true],
    [
      { default: REJECT, transports: { docker: { 'docker.io': ACCEPT } } },
      'quay.io/a',
      /"default"/,
    ],
    [
      { default: ACCEPT, transports: { docker: { 'quay.io/bad': REJECT } } },
      'quay.io/bad/a',
      /bad/,
    ],
    [{ default: ACCEPT, transports: { docker: { 'quay.io/bad': REJECT } } }, 'quay.io/badly', true],
    [
      { default: REJECT, transports: { docker: { 'quay.io/a:1': ACCEPT, 'quay.io/a': REJECT } } },
      'quay.io/a:1',
      true,
    ],
    [
      { default: REJECT, transports: { docker: { 'quay.io/a:1': ACCEPT, 'quay.io/a': REJECT } } },
      'quay.io/a:2',
      /quay.io\/a"/,
    ],
    [
      { default: ACCEPT, transports: { docker: { '*.corp.example': REJECT } } },
      'reg.corp.example:5000/a',
      /\*\.corp\.example/,
    ],
    [
      { default: ACCEPT, transports: { docker: { '*.corp.example': REJECT } } },
      'corp.example/a',
      true,
    ],
    [{ default: ACCEPT, transports: { docker: { '': REJECT } } }, 'alpine', /"docker"/],
    [{ default: ACCEPT, transports: { docker: { '': REJECT } } }, 'image.tar', true],
    [{ default: REJECT, transports: { oci: { '/srv': ACCEPT } } }, '/srv/images/app', true],
    [{ default: REJECT, transports: { oci: { '/srv': ACCEPT } } }, '/tmp/app', /default/],
    [{ default: [...ACCEPT, ...REJECT] }, 'alpine', /reject/],
    [{ default: [] }, 'alpine', /no requirement/],
    [{}, 'alpine', /no requirement/],
    [{ default: [{ type: null }] }, 'alpine', /cannot check/],
    [{ default: ACCEPT, transports: { docker: null } }, 'alpine', true],
  ])('%j, %s: %s', async (policy, name, outcome) => {
    const file = write(policy);
    const decided = policyOf({ env: { HOME: home }, file })(originOf(name));
    if (outcome === true) return expect(decided).resolves.toBeUndefined();
    return expect(decided).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
      message: expect.stringMatching(outcome),
      hint: expect.stringContaining('--signature-policy'),
    });
  });

  it.each(['{', '[]', '{"default":"reject"}', '{"transports":{"docker":[]}}'])(
    'that is not one is an error: %s',
    async (text) => {
      const file = write(text);
      await expect(
        policyOf({ env: { HOME: home }, file })(originOf('alpine')),
      ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(file) });
    },
  );

  it('that is named and missing is an error', async () => {
    const file = path.join(home, 'none.json');
    await expect(policyOf({ env: { HOME: home }, file })(originOf('alpine'))).rejects.toMatchObject(
      {
        code: 'USAGE',
      },
    );
  });

  it("is the user's own where there is one", async () => {
    const folder = path.join(home, '.config', 'containers');
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'policy.json'), JSON.stringify({ default: REJECT }));
    await expect(policyOf({ env: { HOME: home } })(originOf('alpine'))).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
    });
  });
});
