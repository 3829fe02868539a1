import type { ReadFile } from '../../lint/installers';

/** A build that downloads what it needs, and how that is had beforehand. */
export interface Prefetch {
  /** Whose manifests they are, among the installers. */
  readonly installer: string;
  readonly build: RegExp;
  /** It is done already. */
  readonly present: RegExp;
  readonly manifests: readonly string[];
  readonly command: string;
  /** Part of the build's time that the downloads take: a rule of thumb. */
  readonly part: number;
  /** Why the manifests are not enough. */
  readonly needsMore: (read: ReadFile) => string | undefined;
}

const ENOUGH = (): undefined => undefined;

export const PREFETCHES: readonly Prefetch[] = [
  {
    installer: 'go',
    build: /\bgo (?:build|install)\b/,
    present: /\bgo mod (?:download|vendor)\b|-mod=vendor/,
    manifests: ['go.mod', 'go.sum'],
    command: 'go mod download',
    part: 0.3,
    needsMore: (read) =>
      read('vendor/modules.txt') === undefined ? undefined : 'modules are vendored',
  },
  {
    installer: 'cargo',
    build: /\bcargo (?:build|install)\b/,
    present: /\bcargo (?:fetch|chef|vendor)\b/,
    manifests: ['Cargo.toml', 'Cargo.lock'],
    command:
      "mkdir -p src && echo 'fn main() {}' > src/main.rs && cargo fetch --locked && rm -r src",
    part: 0.15,
    needsMore: (read) => {
      const text = read('Cargo.toml');
      if (text === undefined || read('Cargo.lock') === undefined) return 'it has no Cargo.lock';
      return /^\s*\[workspace\]|\bpath\s*=|^\s*build\s*=/m.test(text)
        ? 'Cargo.toml names directories of the project'
        : undefined;
    },
  },
  {
    installer: 'maven',
    build: /\bmvnw?\b.*\b(?:package|install|verify|compile)\b/,
    present: /dependency:(?:go-offline|resolve)/,
    manifests: ['pom.xml'],
    command: 'mvn -B dependency:go-offline',
    part: 0.5,
    needsMore: ENOUGH,
  },
  {
    installer: 'gradle',
    build: /\bgradle\b.*\b(?:build|assemble|bootJar|installDist|jar)\b/,
    present: /\bgradlew?\b.*\bdependencies\b/,
    manifests: [
      'build.gradle',
      'build.gradle.kts',
      'settings.gradle',
      'settings.gradle.kts',
      'gradle.properties',
    ],
    command: 'gradle --no-daemon dependencies',
    part: 0.4,
    needsMore: (read) =>
      /\binclude\b|\bproject\(/.test(read('settings.gradle') ?? read('settings.gradle.kts') ?? '')
        ? 'it has projects, each with a build file of its own'
        : undefined,
  },
  {
    installer: 'dotnet',
    build: /\bdotnet (?:build|publish)\b/,
    present: /\bdotnet restore\b/,
    manifests: ['*.csproj', '*.fsproj', 'nuget.config', 'Directory.Build.props'],
    command: 'dotnet restore',
    part: 0.4,
    needsMore: ENOUGH,
  },
];
