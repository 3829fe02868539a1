/**
 * Reads a file of the build context by its path; `undefined` where it is not there or not known.
 */
export type ReadFile = (path: string) => string | undefined;

/** A package manager's command that installs what a manifest names. */
export interface Installer {
  readonly name: string;
  /** As it stands in a RUN. */
  readonly command: RegExp;
  /**
   * What it installs from: names of files, of which a project has some. Patterns are those of COPY.
   */
  readonly manifests: readonly string[];
  /**
   * Where root's downloads are kept, for a cache mount; `undefined` where later steps need them there (Go, Maven, .NET): a mount would keep
   * them out of the layer.
   */
  readonly cache: string | undefined;
  /** Why it needs more of a project than the manifests; `undefined` where it does not. */
  readonly needsMore: (command: string, read: ReadFile) => string | undefined;
}

const NODE = [
  'package.json',
  'package-lock.json',
  'npm-shrinkwrap.json',
  'yarn.lock',
  'pnpm-lock.yaml',
  'bun.lock',
  '.npmrc',
  '.yarnrc',
  '.yarnrc.yml',
] as const;

/** Commands whose reading is known. Their own documentation says what they look at. */
export const INSTALLERS: readonly Installer[] = [
  node('npm', /^npm (?:ci|clean-install|i|install)(?: --?[\w-]+(?:=\S+)?)*$/, '/root/.npm'),
  node('yarn', /^yarn(?: install)?(?: --?[\w-]+(?:=\S+)?)*$/, '/usr/local/share/.cache/yarn'),
  node('pnpm', /^pnpm (?:i|install)(?: --?[\w-]+(?:=\S+)?)*$/, '/root/.local/share/pnpm/store'),
  node('bun', /^bun (?:i|install)(?: --?[\w-]+(?:=\S+)?)*$/, '/root/.bun/install/cache'),
  {
    name: 'pip',
    command:
      /^(?:python3? -m )?pip3? install(?: --?[\w-]+(?:=\S+)?)* (?:-r|--requirement)[ =]?(\S+)(?: --?[\w-]+(?:=\S+)?)*$/,
    manifests: ['requirements.txt'],
    cache: '/root/.cache/pip',
    needsMore: (command, read) => {
      const [, file = 'requirements.txt'] = /(?:-r|--requirement)[ =]?(\S+)/.exec(command) ?? [];
      const text = read(file.replace(/^\.\//, ''));
      if (text === undefined) return `${file} is not known`;
      return /^\s*(?:-e\b|--editable|-r\b|-c\b|\.|\/|file:)|@ file:/m.test(text)
        ? `${file} names files of the project`
        : undefined;
    },
  },
  {
    name: 'poetry',
    command: /^poetry install(?: --?[\w-]+(?:[= ][\w,]+)?)*$/,
    manifests: ['pyproject.toml', 'poetry.lock'],
    cache: '/root/.cache/pypoetry',
    needsMore: (command, read) =>
      !/--no-root\b/.test(command)
        ? 'poetry install without --no-root installs the project itself'
        : pathDependency(read('pyproject.toml')),
  },
  {
    name: 'uv',
    command: /^uv sync(?: --?[\w-]+(?:[= ][\w,]+)?)*$/,
    manifests: ['pyproject.toml', 'uv.lock'],
    cache: '/root/.cache/uv',
    needsMore: (command, read) =>
      !/--no-install-project\b/.test(command)
        ? 'uv sync without --no-install-project installs the project itself'
        : pathDependency(read('pyproject.toml')),
  },
  {
    name: 'go',
    command: /^go mod download(?: -x)?$/,
    manifests: ['go.mod', 'go.sum'],
    cache: undefined,
    needsMore: (_, read) =>
      /=>\s*\.{1,2}\//.test(read('go.mod') ?? '')
        ? 'go.mod replaces a module by a directory'
        : undefined,
  },
  {
    name: 'bundler',
    command: /^bundle install(?: --?[\w-]+(?:[= ]\S+)?)*$/,
    manifests: ['Gemfile', 'Gemfile.lock', '.ruby-version'],
    cache: '/usr/local/bundle/cache',
    needsMore: (_, read) =>
      /\bpath:|^\s*gemspec\b|\beval_gemfile\b|File\.(?:read|join)/m.test(read('Gemfile') ?? '')
        ? 'Gemfile names files of the project'
        : undefined,
  },
  {
    name: 'composer',
    command: /^composer install(?: --?[\w-]+(?:=\S+)?)*$/,
    manifests: ['composer.json', 'composer.lock'],
    cache: '/root/.composer/cache',
    needsMore: (command, read) => {
      if (/"type"\s*:\s*"path"/.test(read('composer.json') ?? ''))
        return 'composer.json names a repository that is a directory';
      if (/--no-scripts\b/.test(command) && /--no-autoloader\b/.test(command)) return undefined;
      return 'without --no-scripts --no-autoloader, composer install runs scripts and writes an autoloader of the sources';
    },
  },
  {
    name: 'maven',
    command: /^(?:\.\/)?mvnw?(?: -\S+)* dependency:(?:go-offline|resolve)(?: -\S+)*$/,
    manifests: ['pom.xml'],
    cache: undefined,
    needsMore: (_, read) =>
      /<module>/.test(read('pom.xml') ?? '')
        ? 'pom.xml has modules, each with its own pom.xml'
        : undefined,
  },
  {
    name: 'dotnet',
    command: /^dotnet restore(?: --?[\w-]+(?:[= ]\S+)?)*$/,
    manifests: [
      '*.csproj',
      '*.fsproj',
      '*.sln',
      'nuget.config',
      'packages.lock.json',
      'Directory.Build.props',
    ],
    cache: undefined,
    needsMore: () => undefined,
  },
];

/** Commands that need nothing of the project: they install or set up a system. */
const SYSTEM =
  /^(?:apt-get|apt|apk|yum|dnf|microdnf|zypper|pacman|useradd|adduser|groupadd|addgroup|locale-gen|update-ca-certificates|corepack (?:enable|prepare \S+@)|npm (?:i|install) (?:-g|--global)\b|npm cache clean|yarn cache clean|yarn config set|npm config set|rm -rf? (?:\/var|\/tmp|\/root|~)|set -|echo\b(?!.*[<`$])|mkdir(?: -p)? \/|true$)/;

/**
 * The commands of a RUN in its shell's form, cut at `&&` and `;`; `undefined` for what this does
 * not tell apart.
 */
export function commandsOf(line: string): readonly string[] | undefined {
  if (/[|`(){}<>]|\$\(|\bif\b|\bfor\b|\bcase\b/.test(line)) return undefined;
  return line
    .replace(/\\\n/g, ' ')
    .split(/&&|;/)
    .map((command) => command.replace(/\s+/g, ' ').trim())
    .filter((command) => command !== '');
}

/** What a RUN installs by; `undefined` where it does anything else that is not known. */
export function installerOf(
  line: string,
): { readonly installer: Installer; readonly command: string } | undefined {
  const commands = commandsOf(line);
  if (commands === undefined) return undefined;
  let found: { readonly installer: Installer; readonly command: string } | undefined;
  for (const command of commands) {
    const installer = INSTALLERS.find((known) => known.command.test(command));
    if (installer !== undefined && found === undefined) found = { installer, command };
    else if (!SYSTEM.test(command)) return undefined;
  }
  return found;
}

/** Whether a RUN sets up a system and reads nothing of the project. */
export function isSystemSetup(line: string): boolean {
  const commands = commandsOf(line);
  return (
    commands !== undefined &&
    commands.length > 0 &&
    commands.every((command) => SYSTEM.test(command))
  );
}

function node(name: string, command: RegExp, cache: string): Installer {
  return { name, command, manifests: NODE, cache, needsMore: nodeNeedsMore };
}

/**
 * Scripts of the project itself that an install runs (docs.npmjs.com, "scripts"), and packages that
 * are directories.
 */
function nodeNeedsMore(command: string, read: ReadFile): string | undefined {
  const text = read('package.json');
  if (text === undefined) return 'package.json is not known';
  const script = /"(preinstall|install|postinstall|prepare|preprepare|postprepare)"\s*:/.exec(
    text,
  )?.[1];
  if (script !== undefined && !/--ignore-scripts\b/.test(command))
    return `package.json has a script that runs on install: ${script}`;
  if (/"workspaces"\s*:/.test(text) || read('pnpm-workspace.yaml') !== undefined)
    return 'it has workspaces, each with its own package.json';
  if (/:\s*"(?:file|link|portal|workspace|patch):/.test(text))
    return 'package.json names packages that are directories';
  return /"patchedDependencies"\s*:/.test(text) ? 'package.json names patches' : undefined;
}

function pathDependency(pyproject: string | undefined): string | undefined {
  if (pyproject === undefined) return 'pyproject.toml is not known';
  return /\bpath\s*=|workspace\s*=\s*true|file:/.test(pyproject)
    ? 'pyproject.toml names packages that are directories'
    : undefined;
}
