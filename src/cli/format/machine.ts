import { readFileSync } from 'node:fs';
import { arch, release } from 'node:os';

/** docker's words for processors in `version` (Go's GOARCH) and in `info` (uname's machine). */
const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
const MACHINE: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** The API of docker 28.5: what tools compare that ask for it. mbuild has no socket that speaks it. */
export const API_VERSION = '1.51';
export const MIN_API_VERSION = '1.24';

/** The processor as Go names it. */
export function goArch(): string {
  return GO_ARCH[arch()] ?? arch();
}

/** The processor as uname(2) names it. */
export function machine(): string {
  return MACHINE[arch()] ?? arch();
}

/** The distribution's name (os-release(5)), else the system's. */
export function operatingSystem(): string {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}

/** The kernel's release. */
export function kernel(): string {
  return release();
}
