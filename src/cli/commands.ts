import type { Command } from './command';

/** A subcommand before it is loaded. */
export interface CommandEntry {
  /** The name that it is listed under. */
  readonly name: string;
  /** Other names, such as docker's `image ls`. */
  readonly aliases: readonly string[];
  readonly summary: string;
  /** Not shown in overviews. */
  readonly hidden?: true;
  /** Loads the module; it is evaluated only when the command is used. */
  readonly load: () => Promise<{ readonly command: Command }>;
}

/** Every subcommand, in the order of the overview. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'build',
    aliases: ['image build', 'builder build', 'buildx build'],
    summary: 'Build an image from a Dockerfile',
    load: () => import('./commands/build'),
  },
  {
    name: 'explain',
    aliases: [],
    summary: 'Tell why steps of a build were not taken from the cache',
    load: () => import('./commands/explain'),
  },
  {
    name: 'builds',
    aliases: [],
    summary: 'List builds, the latest first',
    load: () => import('./commands/builds'),
  },
  {
    name: 'plan',
    aliases: [],
    summary: 'Tell what a build would take from the cache, run and pull',
    load: () => import('./commands/plan'),
  },
  {
    name: 'verify',
    aliases: [],
    summary: 'Tell whether a build makes the same twice, or why two images differ',
    load: () => import('./commands/verify'),
  },
  {
    name: 'cache ls',
    aliases: ['cache list'],
    summary: 'List the results of steps that are kept',
    load: async () => ({ command: (await import('./commands/cache')).list }),
  },
  {
    name: 'cache du',
    aliases: [],
    summary: 'Show what the cache takes up, and what it saves',
    load: async () => ({ command: (await import('./commands/cache')).usage }),
  },
  {
    name: 'cache rm',
    aliases: ['cache remove'],
    summary: 'Forget results of steps',
    load: async () => ({ command: (await import('./commands/cache')).remove }),
  },
  {
    name: 'cache diff',
    aliases: [],
    summary: 'Tell how the steps of two builds differ',
    load: async () => ({ command: (await import('./commands/cache')).diff }),
  },
  {
    name: 'cache-mount ls',
    aliases: ['cache-mount list'],
    summary: 'List the directories of RUN --mount=type=cache',
    load: async () => ({ command: (await import('./commands/cache-mount')).list }),
  },
  {
    name: 'cache-mount export',
    aliases: [],
    summary: 'Write the content of a cache mount as a tar, or to a registry',
    load: async () => ({ command: (await import('./commands/cache-mount')).exportCommand }),
  },
  {
    name: 'cache-mount import',
    aliases: [],
    summary: 'Fill a cache mount with the files of a tar, or from a registry',
    load: async () => ({ command: (await import('./commands/cache-mount')).importCommand }),
  },
  {
    name: 'cache-mount prune',
    aliases: ['cache-mount rm'],
    summary: 'Delete cache mounts',
    load: async () => ({ command: (await import('./commands/cache-mount')).prune }),
  },
  {
    name: 'bench replay',
    aliases: [],
    summary: 'Tell what each commit of a history would have found in the cache',
    load: async () => ({ command: (await import('./commands/bench')).replay }),
  },
  {
    name: 'bench run',
    aliases: [],
    summary: 'Build a history, or one context several times, and measure',
    load: async () => ({ command: (await import('./commands/bench')).run }),
  },
  {
    name: 'report',
    aliases: [],
    summary: 'Write a build or a benchmark as one page of HTML',
    load: () => import('./commands/report'),
  },
  {
    name: 'history',
    aliases: ['image history'],
    summary: 'Show the history of an image',
    load: () => import('./commands/history'),
  },
  {
    name: 'images',
    aliases: ['image ls', 'image list', 'ls'],
    summary: 'List images',
    load: () => import('./commands/images'),
  },
  {
    name: 'inspect',
    aliases: [],
    summary: 'Display detailed information on images and containers',
    load: () => import('./commands/inspect'),
  },
  {
    name: 'image inspect',
    aliases: [],
    summary: 'Display detailed information on one or more images',
    load: async () => ({ command: (await import('./commands/inspect')).imageInspect }),
  },
  {
    name: 'container inspect',
    aliases: [],
    summary: 'Display detailed information on one or more containers',
    load: async () => ({ command: (await import('./commands/inspect')).containerInspect }),
  },
  {
    name: 'run',
    aliases: ['container run'],
    summary: 'Run a command in a new container from an image',
    load: () => import('./commands/run'),
  },
  {
    name: 'create',
    aliases: ['container create'],
    summary: 'Make a container without starting it',
    load: async () => ({ command: (await import('./commands/run')).createCommand }),
  },
  {
    name: 'ps',
    aliases: ['container ls', 'container list', 'container ps'],
    summary: 'List containers',
    load: () => import('./commands/ps'),
  },
  {
    name: 'logs',
    aliases: ['container logs'],
    summary: 'Show what a container, or a step of a build, printed',
    load: () => import('./commands/logs'),
  },
  {
    name: 'start',
    aliases: ['container start'],
    summary: 'Start one or more containers that do not run',
    load: async () => ({ command: (await import('./commands/container-lifecycle')).start }),
  },
  {
    name: 'stop',
    aliases: ['container stop'],
    summary: 'Stop one or more running containers',
    load: async () => ({ command: (await import('./commands/container-lifecycle')).stop }),
  },
  {
    name: 'restart',
    aliases: ['container restart'],
    summary: 'Stop containers and start them again',
    load: async () => ({ command: (await import('./commands/container-lifecycle')).restart }),
  },
  {
    name: 'kill',
    aliases: ['container kill'],
    summary: 'Send a signal to one or more running containers',
    load: async () => ({ command: (await import('./commands/container-lifecycle')).kill }),
  },
  {
    name: 'wait',
    aliases: ['container wait'],
    summary: 'Wait until containers have ended, and print their exit codes',
    load: async () => ({ command: (await import('./commands/container-lifecycle')).wait }),
  },
  {
    name: 'rm',
    aliases: ['container rm', 'container remove'],
    summary: 'Remove one or more containers',
    load: async () => ({ command: (await import('./commands/container-lifecycle')).rm }),
  },
  {
    name: 'container prune',
    aliases: [],
    summary: 'Remove all containers that do not run',
    load: async () => ({ command: (await import('./commands/prune')).containerPrune }),
  },
  {
    name: 'diff',
    aliases: ['container diff'],
    summary: 'Show what a container changed in its file system',
    load: () => import('./commands/diff'),
  },
  {
    name: 'exec',
    aliases: ['container exec'],
    summary: 'Run a command in a running container',
    load: () => import('./commands/exec'),
  },
  {
    name: 'cp',
    aliases: ['container cp'],
    summary: 'Copy files between a container and the host',
    load: () => import('./commands/cp'),
  },
  {
    name: 'commit',
    aliases: ['container commit'],
    summary: 'Make an image of what a container has changed',
    load: () => import('./commands/commit'),
  },
  {
    name: 'export',
    aliases: ['container export'],
    summary: "Write a container's file system as a tar",
    load: () => import('./commands/export'),
  },
  {
    name: 'container supervise',
    aliases: [],
    summary: 'Watch over a detached container; mbuild starts this itself',
    hidden: true,
    load: () => import('./commands/container-supervise'),
  },
  {
    name: 'search',
    aliases: [],
    summary: 'Search Docker Hub, or another registry, for images',
    load: () => import('./commands/search'),
  },
  {
    name: 'pull',
    aliases: ['image pull'],
    summary: 'Download an image from a registry',
    load: () => import('./commands/pull'),
  },
  {
    name: 'push',
    aliases: ['image push'],
    summary: 'Upload an image to a registry',
    load: () => import('./commands/push'),
  },
  {
    name: 'login',
    aliases: [],
    summary: 'Log in to a registry, Docker Hub when none is named',
    load: () => import('./commands/login'),
  },
  {
    name: 'logout',
    aliases: [],
    summary: 'Log out from a registry, Docker Hub when none is named',
    load: () => import('./commands/logout'),
  },
  {
    name: 'manifest create',
    aliases: ['index create'],
    summary: 'Make a list of images for several platforms, to be pushed under one name',
    load: async () => ({ command: (await import('./commands/manifest')).manifestCreate }),
  },
  {
    name: 'manifest annotate',
    aliases: ['index annotate'],
    summary: 'Say more about an image of a list',
    load: async () => ({ command: (await import('./commands/manifest')).manifestAnnotate }),
  },
  {
    name: 'manifest inspect',
    aliases: ['index inspect'],
    summary: 'Show a manifest or a list of manifests',
    load: async () => ({ command: (await import('./commands/manifest')).manifestInspect }),
  },
  {
    name: 'manifest push',
    aliases: ['index push'],
    summary: 'Push a list of manifests under its name',
    load: async () => ({ command: (await import('./commands/manifest')).manifestPush }),
  },
  {
    name: 'manifest rm',
    aliases: ['index rm'],
    summary: 'Forget lists that were not pushed, or not purged',
    load: async () => ({ command: (await import('./commands/manifest')).manifestRm }),
  },
  {
    name: 'tag',
    aliases: ['image tag'],
    summary: 'Give an image one or more further names',
    load: () => import('./commands/tag'),
  },
  {
    name: 'rmi',
    aliases: ['image rm', 'image remove'],
    summary: 'Remove one or more images',
    load: () => import('./commands/rmi'),
  },
  {
    name: 'image mount',
    aliases: [],
    summary: 'Show the files of an image, read-only, in a directory that is printed',
    load: async () => ({ command: (await import('./commands/image-mount')).mount }),
  },
  {
    name: 'image umount',
    aliases: ['image unmount'],
    summary: 'End what image mount did, by image or directory',
    load: async () => ({ command: (await import('./commands/image-mount')).umount }),
  },
  {
    name: 'image waste',
    aliases: [],
    summary: 'Show what of an image is overwritten or deleted later, or there several times',
    load: async () => ({ command: (await import('./commands/image-changes')).waste }),
  },
  {
    name: 'image diff',
    aliases: [],
    summary: 'Show how the files of two images differ',
    load: async () => ({ command: (await import('./commands/image-changes')).diff }),
  },
  {
    name: 'load',
    aliases: ['image load'],
    summary: 'Load images from an archive or standard input',
    load: () => import('./commands/load'),
  },
  {
    name: 'save',
    aliases: ['image save'],
    summary: 'Save one or more images to an archive',
    load: () => import('./commands/save'),
  },
  {
    name: 'import',
    aliases: ['image import'],
    summary: 'Make an image from the tar of a root file system',
    load: () => import('./commands/import'),
  },
  {
    name: 'prune',
    aliases: ['system prune'],
    summary:
      'Remove stopped containers, images without a name, and the build cache that no image needs',
    load: async () => ({ command: (await import('./commands/prune')).systemPrune }),
  },
  {
    name: 'image prune',
    aliases: [],
    summary: 'Remove images without a name',
    load: async () => ({ command: (await import('./commands/prune')).imagePrune }),
  },
  {
    name: 'builder prune',
    aliases: ['buildx prune'],
    summary: 'Remove the build cache that no image needs, and cache mounts',
    load: async () => ({ command: (await import('./commands/prune')).builderPrune }),
  },
  {
    name: 'system df',
    aliases: ['df'],
    summary: 'Show what takes up space',
    load: () => import('./commands/system-df'),
  },
  {
    name: 'system check',
    aliases: [],
    summary: 'Verify everything in the store, and repair it',
    load: () => import('./commands/system-check'),
  },
  {
    name: 'context ls',
    aliases: [],
    summary: 'List what a build is given of its directory, and what stays out',
    load: async () => ({ command: (await import('./commands/context')).ls }),
  },
  {
    name: 'context export',
    aliases: [],
    summary:
      'Write what a build is given of its directory as a tar, which any builder takes for a context',
    load: async () => ({ command: (await import('./commands/context')).exportContext }),
  },
  {
    name: 'parse',
    aliases: [],
    summary: 'Print a Dockerfile as parsed, for editors and linters',
    load: () => import('./commands/parse'),
  },
  {
    name: 'info',
    aliases: ['system info'],
    summary: 'Show the store and what this machine can do',
    load: () => import('./commands/info'),
  },
  {
    name: 'doctor',
    aliases: [],
    summary: 'Show how builds are isolated here, and what would be needed for better',
    load: () => import('./commands/doctor'),
  },
  {
    name: 'version',
    aliases: [],
    summary: 'Show the version',
    load: () => import('./commands/version'),
  },
];

/** First words of docker's grouped commands: `image ls`. */
const GROUPS = [
  'image',
  'builder',
  'buildx',
  'container',
  'system',
  'cache',
  'cache-mount',
  'bench',
  'context',
  'manifest',
  'index',
];

/** The command that the words begin with, and how many words name it. */
export function findCommand(
  words: readonly string[],
): { readonly entry: CommandEntry; readonly length: number } | undefined {
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(' ');
    const entry =
      words.length < length
        ? undefined
        : COMMANDS.find((candidate) => candidate.name === name || candidate.aliases.includes(name));
    if (entry !== undefined) return { entry, length };
  }
  return undefined;
}

/** The commands of a group, by their second words; `undefined` when there is no such group. */
export function commandsOfGroup(
  group: string,
): readonly { readonly name: string; readonly summary: string }[] | undefined {
  if (!GROUPS.includes(group)) return undefined;
  return COMMANDS.filter(({ hidden }) => hidden !== true).flatMap(({ name, aliases, summary }) =>
    [name, ...aliases]
      .filter((full) => full.startsWith(`${group} `))
      .map((full) => ({ name: full.slice(group.length + 1), summary })),
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
