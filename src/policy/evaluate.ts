import { MbuildError } from '../diagnostics/error';
import type { PolicyRule, SourcePolicy } from './source-policy';
import { fillIn, matchWildcard, type Match } from './wildcard';

/** Something that a build takes from outside, as BuildKit names it. */
export interface Source {
  /** `docker-image://docker.io/library/debian:12`, `https://…`, `git://…`, `local://context`. */
  readonly identifier: string;
  readonly attrs: Readonly<Record<string, string>>;
}

/** Conversions of one source that follow each other end here: BuildKit's number. */
const MAX_CONVERSIONS = 20;

/**
 * What is used for a source: the source itself, or what rules convert it to. After a conversion all
 * rules are looked at again; of those that allow and deny, the last one decides.
 * @throws MbuildError NOT_ALLOWED for a source that is denied, USAGE for conversions without an end.
 */
export function evaluate(policy: SourcePolicy, source: Source): Source {
  let current = source;
  for (let count = 0; count <= MAX_CONVERSIONS; count++) {
    const next = evaluateOnce(policy, current);
    if (next === undefined) return current;
    current = next;
  }
  throw new MbuildError(
    'USAGE',
    `the source policy ${policy.file} converts ${source.identifier} without an end`,
  );
}

/** What the source is converted to; `undefined` where it is to be used as it is. */
function evaluateOnce(policy: SourcePolicy, source: Source): Source | undefined {
  let denied: PolicyRule | undefined;
  for (const rule of policy.rules) {
    const match = matchOf(rule, source);
    if (match === undefined) continue;
    if (rule.action === 'ALLOW') denied = undefined;
    if (rule.action === 'DENY') denied = rule;
    if (rule.action !== 'CONVERT') continue;
    const converted = convert(rule, match, source, policy);
    if (!isSame(converted, source)) return converted;
  }
  if (denied === undefined) return undefined;
  throw new MbuildError(
    'NOT_ALLOWED',
    `the source policy ${policy.file} denies ${source.identifier}: rule ${denied.number}, ${denied.identifier}`,
  );
}

function matchOf(rule: PolicyRule, { identifier, attrs }: Source): Match | undefined {
  const fits = rule.constraints.every(
    ({ key, value, condition }) => ((attrs[key] ?? '') === value) === (condition === 'EQUAL'),
  );
  if (!fits) return undefined;
  if (rule.matchType === 'WILDCARD') return matchWildcard(rule.identifier, identifier);
  return rule.identifier === identifier ? [identifier] : undefined;
}

function convert(
  { number, identifier, updates }: PolicyRule,
  match: Match,
  { attrs }: Source,
  { file }: SourcePolicy,
): Source {
  const filled = fillIn(updates?.identifier ?? identifier, match);
  if (filled === undefined)
    throw new MbuildError(
      'USAGE',
      `rule ${number} of the source policy ${file} names more stars than its identifier has`,
    );
  return { identifier: filled, attrs: { ...attrs, ...updates?.attrs } };
}

function isSame(a: Source, b: Source): boolean {
  return (
    a.identifier === b.identifier &&
    Object.entries(a.attrs).every(([key, value]) => b.attrs[key] === value)
  );
}
