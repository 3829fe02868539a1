/**
 * What an image runs on. OCI image-spec, image-index.md; normalised as containerd does (`x86_64` is
 * `amd64`).
 */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** e.g. `v7` for arm, `v8` for arm64. */
  readonly variant?: string | undefined;
  readonly 'os.version'?: string | undefined;
  readonly 'os.features'?: readonly string[] | undefined;
}

const ARCHITECTURES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x64: ['amd64'],
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  amd64: ['amd64'],
  ia32: ['386'],
  i386: ['386'],
  i686: ['386'],
  x86: ['386'],
  arm64: ['arm64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
  arm: ['arm', 'v7'],
  ppc64el: ['ppc64le'],
};

/** Those that Go knows besides; other words are none. */
const MORE_ARCHITECTURES = [
  'amd64p32',
  'armbe',
  'arm64be',
  'loong64',
  'mips',
  'mipsle',
  'mips64',
  'mips64le',
  'mips64p32',
  'mips64p32le',
  'ppc',
  'ppc64',
  'ppc64le',
  'riscv',
  'riscv64',
  's390',
  's390x',
  'sparc',
  'sparc64',
  'wasm',
  '386',
];

/** The platform of the running machine. */
export function hostPlatform(): Platform {
  return normalizePlatform({ os: 'linux', architecture: process.arch });
}

/**
 * Applies containerd's normal form: architecture aliases, `v7` as arm's default variant, `v8`
 * dropped for arm64.
 */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase();
  const given = platform.architecture.toLowerCase();
  const [architecture, implied] = ARCHITECTURES[given] ?? [given];
  let variant = platform.variant?.toLowerCase() || implied;
  if (architecture === 'arm64' && (variant === 'v8' || variant === '8')) variant = undefined;
  if (architecture === 'arm' && variant !== undefined && /^\d/.test(variant))
    variant = `v${variant}`;
  if (architecture === 'amd64' && variant === 'v1') variant = undefined;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/**
 * Reads `os[/arch[/variant]]`, or a known architecture alone. `undefined` when the text is not a
 * platform.
 */
export function parsePlatform(text: string): Platform | undefined {
  const parts = text.trim().split('/');
  if (parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]+$/.test(part))) return undefined;
  const [first = '', second, variant] = parts;
  if (second === undefined) {
    if (['linux', 'windows', 'darwin', 'freebsd'].includes(first.toLowerCase()))
      return normalizePlatform({ ...hostPlatform(), os: first });
    const isKnown =
      Object.hasOwn(ARCHITECTURES, first.toLowerCase()) ||
      MORE_ARCHITECTURES.includes(first.toLowerCase());
    return isKnown ? normalizePlatform({ os: 'linux', architecture: first }) : undefined;
  }
  return normalizePlatform({ os: first, architecture: second, variant });
}

/** `os/arch[/variant]`. */
export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
}

/** Same os, architecture and variant, after normalising. */
export function samePlatform(a: Platform, b: Platform): boolean {
  return formatPlatform(normalizePlatform(a)) === formatPlatform(normalizePlatform(b));
}
