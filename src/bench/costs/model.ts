/** What of a project steps take their time for. */
export interface ProjectFacts {
  /** Packages by the name of the lock file. */
  readonly packages: ReadonlyMap<string, number>;
  /** Of the files that are copied from the context. */
  readonly sourceBytes: number;
}

/** A guess at what a RUN takes. */
export interface Estimate {
  readonly seconds: number;
  readonly bytes: number;
}

/** `fixed + perPackage × packages + perMegabyte × source`, for seconds and for bytes. */
interface Rule {
  readonly command: RegExp;
  /** Lock files that count, the first that a project has. */
  readonly locks: readonly string[];
  readonly seconds: readonly [fixed: number, perPackage: number, perMegabyte: number];
  readonly bytes: readonly [fixed: number, perPackage: number, perMegabyte: number];
}

const MB = 1e6;
const NODE_LOCKS = [
  'package-lock.json',
  'npm-shrinkwrap.json',
  'yarn.lock',
  'pnpm-lock.yaml',
  'bun.lock',
];
const PYTHON_LOCKS = ['requirements.txt', 'Pipfile.lock', 'poetry.lock', 'uv.lock', 'pdm.lock'];

/**
 * Rules of thumb for a machine of two to four cores with a fast line: what public logs of such builds show, rounded. They are
 * for sizes that nobody has measured; `--durations` and records of builds always win.
 */
const RULES: readonly Rule[] = [
  {
    command: /\bnpm (?:ci|i|install)\b/,
    locks: NODE_LOCKS,
    seconds: [3, 0.02, 0],
    bytes: [5 * MB, 0.2 * MB, 0],
  },
  {
    command: /\byarn(?: install|\s+--|\s*$| +&&)/,
    locks: NODE_LOCKS,
    seconds: [4, 0.025, 0],
    bytes: [5 * MB, 0.2 * MB, 0],
  },
  {
    command: /\bpnpm (?:i|install|fetch)\b/,
    locks: NODE_LOCKS,
    seconds: [3, 0.012, 0],
    bytes: [5 * MB, 0.2 * MB, 0],
  },
  {
    command: /\bbun install\b/,
    locks: NODE_LOCKS,
    seconds: [1, 0.006, 0],
    bytes: [5 * MB, 0.2 * MB, 0],
  },
  {
    command: /\buv (?:sync|pip)\b/,
    locks: ['uv.lock', ...PYTHON_LOCKS],
    seconds: [1, 0.06, 0],
    bytes: [2 * MB, 3 * MB, 0],
  },
  {
    command: /\bpoetry install\b/,
    locks: ['poetry.lock'],
    seconds: [5, 0.3, 0],
    bytes: [2 * MB, 3 * MB, 0],
  },
  {
    command: /\bpip3? install\b/,
    locks: PYTHON_LOCKS,
    seconds: [4, 0.8, 0],
    bytes: [2 * MB, 4 * MB, 0],
  },
  {
    command: /\bgo mod download\b/,
    locks: ['go.sum'],
    seconds: [1, 0.06, 0],
    bytes: [0, 1 * MB, 0],
  },
  {
    command: /\bgo (?:build|install)\b/,
    locks: ['go.sum'],
    seconds: [10, 0.12, 4],
    bytes: [20 * MB, 0, 2 * MB],
  },
  {
    command: /\bcargo (?:chef )?(?:fetch|cook)\b/,
    locks: ['Cargo.lock'],
    seconds: [5, 0.5, 0],
    bytes: [0, 2 * MB, 0],
  },
  {
    command: /\bcargo (?:build|install)\b/,
    locks: ['Cargo.lock'],
    seconds: [20, 0.8, 20],
    bytes: [100 * MB, 2 * MB, 0],
  },
  {
    command: /\bbundle install\b/,
    locks: ['Gemfile.lock'],
    seconds: [3, 0.4, 0],
    bytes: [0, 1 * MB, 0],
  },
  {
    command: /\bcomposer install\b/,
    locks: ['composer.lock'],
    seconds: [3, 0.1, 0],
    bytes: [0, 0.5 * MB, 0],
  },
  { command: /\bmvnw?\b/, locks: ['pom.xml'], seconds: [15, 0.6, 4], bytes: [10 * MB, 2 * MB, 0] },
  { command: /\bgradlew?\b/, locks: [], seconds: [40, 0, 5], bytes: [100 * MB, 0, 0] },
  {
    command: /\bdotnet (?:restore)\b/,
    locks: ['packages.lock.json'],
    seconds: [8, 0.1, 0],
    bytes: [50 * MB, 0, 0],
  },
  {
    command: /\bdotnet (?:build|publish)\b/,
    locks: [],
    seconds: [12, 0, 4],
    bytes: [50 * MB, 0, 0],
  },
  {
    command: /\b(?:npm|yarn|pnpm|bun)(?: run)? build\S*/,
    locks: NODE_LOCKS,
    seconds: [10, 0.01, 3],
    bytes: [10 * MB, 0, 1 * MB],
  },
  {
    command: /\b(?:tsc|webpack|vite|next) ?build\b|\btsc\b/,
    locks: NODE_LOCKS,
    seconds: [5, 0.01, 2],
    bytes: [5 * MB, 0, 1 * MB],
  },
  {
    command: /\b(?:make|cmake|ninja|g\+\+|gcc)\b/,
    locks: [],
    seconds: [5, 0, 15],
    bytes: [5 * MB, 0, 2 * MB],
  },
  {
    command: /\bapt(?:-get)? (?:[^&|;]*)install\b/,
    locks: [],
    seconds: [12, 0, 0],
    bytes: [60 * MB, 0, 0],
  },
  {
    command: /\b(?:yum|dnf|microdnf|zypper) (?:[^&|;]*)install\b/,
    locks: [],
    seconds: [20, 0, 0],
    bytes: [80 * MB, 0, 0],
  },
  { command: /\bapk (?:[^&|;]*)add\b/, locks: [], seconds: [3, 0, 0], bytes: [15 * MB, 0, 0] },
  { command: /\b(?:curl|wget)\b/, locks: [], seconds: [3, 0, 0], bytes: [10 * MB, 0, 0] },
];
/** Names of system packages that an instruction lists, as far as they make it longer. */
const SYSTEM_PACKAGE_SECONDS = 0.8;
/** A command of which nothing is known: a `mkdir`, a `chown`. */
const OTHER: Estimate = { seconds: 0.5, bytes: 0 };

/** What a RUN takes, by its text and by what the project has; the parts of one that does several things are added. */
export function estimate(text: string, { packages, sourceBytes }: ProjectFacts): Estimate {
  const megabytes = sourceBytes / MB;
  let [seconds, bytes, found] = [0, 0, false];
  for (const rule of RULES) {
    if (!rule.command.test(text)) continue;
    found = true;
    const lock = rule.locks.find((name) => packages.has(name));
    const count = lock === undefined ? 0 : (packages.get(lock) ?? 0);
    const total = ([fixed, perPackage, perMegabyte]: Rule['seconds']): number =>
      fixed + perPackage * count + perMegabyte * megabytes;
    seconds += total(rule.seconds);
    bytes += total(rule.bytes);
  }
  if (!found) return OTHER;
  return { seconds: seconds + SYSTEM_PACKAGE_SECONDS * systemPackages(text), bytes };
}

function systemPackages(text: string): number {
  const [, list = ''] =
    /\b(?:apt(?:-get)?|apk|yum|dnf|microdnf|zypper)\b[^&|;]*?\b(?:install|add)\b([^&|;]*)/.exec(
      text,
    ) ?? [];
  return list.split(/\s+/).filter((word) => /^[a-z0-9]/i.test(word)).length;
}
