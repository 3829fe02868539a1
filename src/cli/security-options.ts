import { didYouMean } from '../diagnostics/suggest';
import { usage } from './usage';

/** What `--security-opt` asks for. */
export interface SecurityOptions {
  readonly noNewPrivileges: boolean | undefined;
  /** What the container has nevertheless, in one line each. */
  readonly notes: readonly string[];
}

const NAMES = ['no-new-privileges', 'seccomp', 'apparmor', 'label', 'systempaths'];

/** Values that would take protection away, and what stays. */
const KEPT: Readonly<Record<string, string>> = {
  'seccomp=unconfined': 'system calls stay filtered',
  'apparmor=unconfined': 'mbuild sets no AppArmor profile',
  'apparmor=docker-default': 'mbuild sets no AppArmor profile',
  'label=disable': 'mbuild sets no SELinux label',
  'systempaths=unconfined': '/proc and /sys stay masked',
};

/**
 * Reads docker's `--security-opt`: NAME, NAME=VALUE or NAME:VALUE. What would confine the container
 * further than mbuild can is refused; what would confine it less is not done, and said.
 * @throws MbuildError USAGE.
 */
export function readSecurityOptions(options: readonly string[]): SecurityOptions {
  let noNewPrivileges: boolean | undefined;
  const notes: string[] = [];
  for (const option of options) {
    const [, name = '', value] = /^([^=:]+)(?:[=:](.*))?$/.exec(option) ?? [];
    if (name === 'no-new-privileges') {
      noNewPrivileges = readSwitch(option, value);
      continue;
    }
    const kept = KEPT[`${name}=${value ?? ''}`];
    if (kept === undefined) throw refusal(option, name);
    notes.push(`--security-opt ${option} changes nothing: ${kept}`);
  }
  return { noNewPrivileges, notes };
}

function readSwitch(option: string, value = 'true'): boolean {
  if (/^(true|1|t)$/i.test(value)) return true;
  if (/^(false|0|f)$/i.test(value)) return false;
  throw usage(`invalid --security-opt ${JSON.stringify(option)}`, 'write true or false');
}

function refusal(option: string, name: string): Error {
  if (NAMES.includes(name))
    return usage(
      `--security-opt ${option} is not supported`,
      'containers have the protection of docs/isolation.md, which no profile or label changes',
    );
  return usage(
    `unknown --security-opt ${JSON.stringify(option)}`,
    didYouMean(name, NAMES) ?? `options are ${NAMES.join(', ')}`,
  );
}
