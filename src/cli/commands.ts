import type { Command } from './command';

/** A command before it is loaded. */
export interface CommandEntry {
  /** The name that it is listed under. */
  readonly name: string;
  /** Other names, such as docker's `image ls`. */
  readonly aliases: readonly string[];
  /** Loads the module; it is evaluated only when the command is used. */
  readonly load: () => Promise<Command>;
  readonly needs: Needs | undefined;
}

/**
 * What a command needs that has to be known before it is loaded: `no store`, so that an ordinary
 * user needs no user namespace for it; `containers`, so that it runs where those run that it is
 * about: it starts them, ends them, or goes into them.
 */
type Needs = 'no store' | 'containers';

function entry(names: string, load: () => Promise<Command>, needs?: Needs): CommandEntry {
  const [name = '', ...aliases] = names.split(', ');
  return { name, aliases, load, needs };
}

/**
 * Every command, in the order of the overview: its name, its other names, and its module, which has
 * all else. A new command is a file in commands/ and a line here.
 */
export const COMMANDS: readonly CommandEntry[] = [
  entry(
    'build, image build, builder build, buildx build',
    async () => (await import('./commands/build')).command,
  ),
  entry('bake, buildx bake', async () => (await import('./commands/bake')).command),
  entry('kaniko', async () => (await import('./commands/kaniko')).executor),
  entry('kaniko warmer', async () => (await import('./commands/kaniko')).warmer),
  entry('explain', async () => (await import('./commands/explain')).command),
  entry('debug', async () => (await import('./commands/debug')).command),
  entry('builds', async () => (await import('./commands/builds')).command),
  entry('plan', async () => (await import('./commands/plan')).command),
  entry('verify', async () => (await import('./commands/verify')).command),
  entry('cache ls, cache list', async () => (await import('./commands/cache')).list),
  entry('cache du, buildx du', async () => (await import('./commands/cache')).usage),
  entry('cache rm, cache remove', async () => (await import('./commands/cache')).remove),
  entry('cache diff', async () => (await import('./commands/cache')).diff),
  entry(
    'cache-mount ls, cache-mount list',
    async () => (await import('./commands/cache-mount')).list,
  ),
  entry('cache-mount export', async () => (await import('./commands/cache-mount')).exportCommand),
  entry('cache-mount import', async () => (await import('./commands/cache-mount')).importCommand),
  entry(
    'cache-mount prune, cache-mount rm',
    async () => (await import('./commands/cache-mount')).prune,
  ),
  entry('bench replay', async () => (await import('./commands/bench-replay')).command),
  entry('bench compare', async () => (await import('./commands/bench-compare')).command),
  entry('bench durations', async () => (await import('./commands/bench-durations')).command),
  entry('bench run', async () => (await import('./commands/bench-run')).command),
  entry('report', async () => (await import('./commands/report')).command),
  entry('sbom', async () => (await import('./commands/sbom')).command),
  entry('history, image history', async () => (await import('./commands/history')).command),
  entry(
    'images, image ls, image list, ls',
    async () => (await import('./commands/images')).command,
  ),
  entry('inspect', async () => (await import('./commands/inspect')).command),
  entry('image inspect', async () => (await import('./commands/inspect')).imageInspect),
  entry('container inspect', async () => (await import('./commands/inspect')).containerInspect),
  entry('run, container run', async () => (await import('./commands/run')).command, 'containers'),
  entry('create, container create', async () => (await import('./commands/run')).createCommand),
  entry(
    'ps, container ls, container list, container ps',
    async () => (await import('./commands/ps')).command,
  ),
  entry('logs, container logs', async () => (await import('./commands/logs')).command),
  entry(
    'start, container start',
    async () => (await import('./commands/container-lifecycle')).start,
    'containers',
  ),
  entry(
    'stop, container stop',
    async () => (await import('./commands/container-lifecycle')).stop,
    'containers',
  ),
  entry(
    'restart, container restart',
    async () => (await import('./commands/container-lifecycle')).restart,
    'containers',
  ),
  entry(
    'kill, container kill',
    async () => (await import('./commands/container-lifecycle')).kill,
    'containers',
  ),
  entry('wait, container wait', async () => (await import('./commands/container-lifecycle')).wait),
  entry(
    'rm, container rm, container remove',
    async () => (await import('./commands/container-lifecycle')).rm,
    'containers',
  ),
  entry(
    'container prune',
    async () => (await import('./commands/prune')).containerPrune,
    'containers',
  ),
  entry('diff, container diff', async () => (await import('./commands/diff')).command),
  entry(
    'exec, container exec',
    async () => (await import('./commands/exec')).command,
    'containers',
  ),
  entry('cp, container cp', async () => (await import('./commands/cp')).command, 'containers'),
  entry(
    'commit, container commit',
    async () => (await import('./commands/commit')).command,
    'containers',
  ),
  entry(
    'export, container export',
    async () => (await import('./commands/export')).command,
    'containers',
  ),
  entry(
    'container supervise',
    async () => (await import('./commands/container-supervise')).command,
  ),
  entry('search', async () => (await import('./commands/search')).command),
  entry('pull, image pull', async () => (await import('./commands/pull')).command),
  entry('push, image push', async () => (await import('./commands/push')).command),
  entry('login', async () => (await import('./commands/login')).command, 'no store'),
  entry('logout', async () => (await import('./commands/logout')).command, 'no store'),
  entry(
    'manifest create, index create',
    async () => (await import('./commands/manifest')).manifestCreate,
  ),
  entry(
    'manifest annotate, index annotate',
    async () => (await import('./commands/manifest')).manifestAnnotate,
  ),
  entry(
    'manifest inspect, index inspect',
    async () => (await import('./commands/manifest')).manifestInspect,
  ),
  entry(
    'manifest push, index push',
    async () => (await import('./commands/manifest')).manifestPush,
  ),
  entry('manifest rm, index rm', async () => (await import('./commands/manifest')).manifestRm),
  entry(
    'imagetools inspect, buildx imagetools inspect',
    async () => (await import('./commands/imagetools')).imagetoolsInspect,
  ),
  entry(
    'imagetools create, buildx imagetools create',
    async () => (await import('./commands/imagetools')).imagetoolsCreate,
  ),
  entry('tag, image tag', async () => (await import('./commands/tag')).command),
  entry('rmi, image rm, image remove', async () => (await import('./commands/rmi')).command),
  entry('image mount', async () => (await import('./commands/image-mount')).mount),
  entry('image umount, image unmount', async () => (await import('./commands/image-mount')).umount),
  entry('image waste', async () => (await import('./commands/image-changes')).waste),
  entry('image diff', async () => (await import('./commands/image-changes')).diff),
  entry('load, image load', async () => (await import('./commands/load')).command),
  entry('save, image save', async () => (await import('./commands/save')).command),
  entry('import, image import', async () => (await import('./commands/import')).command),
  entry(
    'prune, system prune',
    async () => (await import('./commands/prune')).systemPrune,
    'containers',
  ),
  entry('image prune', async () => (await import('./commands/prune')).imagePrune),
  entry('builder prune, buildx prune', async () => (await import('./commands/prune')).builderPrune),
  entry('events, system events', async () => (await import('./commands/events')).command),
  entry('volume create', async () => (await import('./commands/volume')).create),
  entry('volume ls, volume list', async () => (await import('./commands/volume')).ls),
  entry('volume inspect', async () => (await import('./commands/volume')).inspect),
  entry('volume rm, volume remove', async () => (await import('./commands/volume')).rm),
  entry('volume prune', async () => (await import('./commands/volume')).prune),
  entry(
    'network ls, network list',
    async () => (await import('./commands/network')).ls,
    'no store',
  ),
  entry('network inspect', async () => (await import('./commands/network')).inspect, 'no store'),
  entry('buildx version', async () => (await import('./commands/buildx')).version, 'no store'),
  entry('buildx ls', async () => (await import('./commands/buildx')).ls, 'no store'),
  entry('buildx inspect', async () => (await import('./commands/buildx')).inspect, 'no store'),
  entry('buildx create', async () => (await import('./commands/buildx')).create, 'no store'),
  entry('buildx use', async () => (await import('./commands/buildx')).use, 'no store'),
  entry('buildx rm', async () => (await import('./commands/buildx')).rm, 'no store'),
  entry('buildx stop', async () => (await import('./commands/buildx')).stop, 'no store'),
  entry(
    'buildx install, buildx uninstall',
    async () => (await import('./commands/buildx')).install,
    'no store',
  ),
  entry('system df, df', async () => (await import('./commands/system-df')).command),
  entry('system check', async () => (await import('./commands/system-check')).command),
  entry('context files', async () => (await import('./commands/context')).files),
  entry('context ls', async () => (await import('./commands/docker-context')).ls),
  entry('context show', async () => (await import('./commands/docker-context')).show, 'no store'),
  entry(
    'context inspect',
    async () => (await import('./commands/docker-context')).inspect,
    'no store',
  ),
  entry('context use', async () => (await import('./commands/docker-context')).use, 'no store'),
  entry('context export', async () => (await import('./commands/context')).exportContext),
  entry('parse', async () => (await import('./commands/parse')).command, 'no store'),
  entry('info, system info', async () => (await import('./commands/info')).command),
  entry('doctor', async () => (await import('./commands/doctor')).command, 'no store'),
  entry('completion', async () => (await import('./commands/completion')).command, 'no store'),
  entry('version', async () => (await import('./commands/version')).command, 'no store'),
];

/** The command that the words begin with, and how many words name it. */
export function findCommand(
  words: readonly string[],
): { readonly entry: CommandEntry; readonly length: number } | undefined {
  for (const length of [3, 2, 1]) {
    const name = words.slice(0, length).join(' ');
    const entry =
      words.length < length
        ? undefined
        : COMMANDS.find((candidate) => candidate.name === name || candidate.aliases.includes(name));
    if (entry !== undefined) return { entry, length };
  }
  return undefined;
}

/**
 * The second words of a group (`image ls`, `cache du`) with their commands; empty when there is no
 * such group.
 */
export function commandsOfGroup(
  group: string,
): readonly { readonly name: string; readonly entry: CommandEntry }[] {
  return COMMANDS.flatMap((one) =>
    [one.name, ...one.aliases]
      .filter((full) => full.startsWith(`${group} `))
      .map((full) => ({ name: full.slice(group.length + 1), entry: one })),
  );
}

/** All words that can stand first. */
export function firstWords(): string[] {
  return [
    ...new Set([
      ...COMMANDS.flatMap(({ name, aliases }) =>
        [name, ...aliases].map((full) => full.split(' ')[0] ?? ''),
      ),
      'help',
    ]),
  ];
}
