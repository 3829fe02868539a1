import { DEFAULT_REGISTRY } from '../../oci/reference';
import { defineCommand } from '../command';
import { registryOf } from './login';

export const command = defineCommand({
  name: 'logout',
  summary: 'Log out from a registry (default: Docker Hub)',
  usage: ['[SERVER]'],
  positionals: { min: 0, max: 1 },
  flags: {},
  run: async ({ flags, positionals: [server] }, host) => {
    const { eraseCredentials } = await import('../../registry/login');
    const registry = registryOf(server);
    const there = await eraseCredentials(registry, { env: host.env, authFile: flags.authfile });
    const name = registry === DEFAULT_REGISTRY ? 'https://index.docker.io/v1/' : registry;
    host.out.write(
      there ? `Removing login credentials for ${name}\n` : `Not logged in to ${name}\n`,
    );
    return 0;
  },
});
