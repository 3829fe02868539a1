import { EVICTION_POLICIES, type EvictionPolicy } from '../../cache/eviction';
import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import type { PlannedRow } from '../keys/plan';
import { BUILDAH, BUILDKIT, CLASSIC, kanikoKeys, MBUILD } from './keys';
import { Simulator, type Policy, type Storage } from './policy';
import {
  EndlessStorage,
  ExportedStorage,
  HubStorage,
  LocalStorage,
  RepositoryStorage,
  type LocalLimits,
} from './storage';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
};
const TIMES: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
const DAY = 86_400;
const RECORDED = 'compared with docker 28.5 and buildah 1.43 on recorded histories';

/** A policy before it is given its limits. */
interface Kind {
  readonly checked: string;
  /** Sizes and ages may follow its name: `buildkit,size=20GB`. */
  readonly limits?: LocalLimits | undefined;
  readonly make: (limits: LocalLimits) => Omit<Policy, 'name' | 'checked'>;
}

const KINDS: Readonly<Record<string, Kind>> = {
  local: {
    checked: 'compared with real builds by its tests',
    limits: { evict: 'value' },
    make: (limits) => ({
      advises: limits.maxBytes === undefined && limits.maxAgeSeconds === undefined,
      simulate: () => new Simulator(MBUILD, localStorage(limits)),
    }),
  },
  'registry=min': {
    checked: 'compared with real builds by its tests',
    make: () => ({ simulate: () => new Simulator(MBUILD, new ExportedStorage('min')) }),
  },
  'registry=max': {
    checked: 'compared with real builds by its tests',
    make: () => ({ simulate: () => new Simulator(MBUILD, new ExportedStorage('max')) }),
  },
  buildkit: {
    checked: RECORDED,
    // docs.docker.com, "Build garbage collection": a tenth of the disk, at most 20 GB where it is of 200 GB.
    limits: { evict: 'lru', maxBytes: 20e9 },
    make: (limits) => ({
      simulate: () => new Simulator(BUILDKIT, localStorage(limits)),
    }),
  },
  'buildkit-registry=min': buildkitElsewhere('min', 'registry'),
  'buildkit-registry=max': buildkitElsewhere('max', 'registry'),
  'buildkit-inline': buildkitElsewhere('min', 'inline'),
  gha: {
    checked: 'unchecked: from the documentation of GitHub and BuildKit',
    make: () => ({
      // docs.github.com, "Dependency caching reference": 10 GB a repository, seven days.
      simulate: () =>
        new Simulator(BUILDKIT, new HubStorage({ maxBytes: 10e9, maxAgeSeconds: 7 * DAY }, 'max')),
    }),
  },
  'docker-classic': {
    checked: RECORDED,
    make: () => ({
      refuses: refusedByClassic,
      simulate: () => new Simulator(CLASSIC, new EndlessStorage()),
    }),
  },
  buildah: {
    checked: RECORDED,
    make: () => ({ simulate: () => new Simulator(BUILDAH, new EndlessStorage()) }),
  },
  kaniko: kaniko(false),
  'kaniko-copy-layers': kaniko(true),
};

function buildkitElsewhere(mode: 'min' | 'max', place: string): Kind {
  return {
    checked: `unchecked: its keys are compared with docker 28, what ${place} keeps is from the documentation`,
    make: () => ({ simulate: () => new Simulator(BUILDKIT, new ExportedStorage(mode)) }),
  };
}

function kaniko(copiesToo: boolean): Kind {
  return {
    checked: 'unchecked: from the documentation and the source of kaniko',
    // --cache-ttl: two weeks.
    make: () => ({
      simulate: () => new Simulator(kanikoKeys(copiesToo), new RepositoryStorage(14 * DAY)),
    }),
  };
}

/** What came after the classic builder: it ends with an error at these. */
function refusedByClassic({ text }: PlannedRow): string | undefined {
  const [, flag] =
    /^(?:RUN|COPY|ADD) (?:--\S+ )*?--(mount|link|network|security|parents|exclude|checksum|chmod)\b/i.exec(
      text,
    ) ?? [];
  if (flag !== undefined) return `the classic builder has no --${flag}`;
  return /^(?:RUN|COPY|ADD)\b[^"']*<<-?["']?\w/.test(text)
    ? 'the classic builder has no here-documents'
    : undefined;
}

/** Names of all policies. */
export const POLICIES: readonly string[] = Object.keys(KINDS);

/** Reads `local`, `size=5GB,evict=lru,age=72h`, `registry=max`, `buildkit,size=20GB`, …. @throws MbuildError USAGE. */
export function parsePolicy(text: string): Policy {
  const [first = '', ...more] = text.split(',');
  const isLimit = /^(?:size|age|evict)=/.test(first);
  const kind = KINDS[isLimit ? 'local' : first];
  if (kind === undefined)
    throw new MbuildError('USAGE', `${JSON.stringify(text)} is not a policy`, {
      hint: didYouMean(first, POLICIES) ?? `policies are ${POLICIES.join(', ')}, size=5GB, age=72h`,
    });
  const words = isLimit ? [first, ...more] : more;
  if (words.length > 0 && kind.limits === undefined)
    throw new MbuildError('USAGE', `the policy ${first} takes no ${words.join(',')}`, {
      hint: 'size=, age= and evict= are for caches on one machine: local, buildkit',
    });
  const limits = words.reduce((known, word) => withLimit(known, word, text), kind.limits ?? LRU);
  return { name: text, checked: kind.checked, ...kind.make(limits) };
}

const LRU: LocalLimits = { evict: 'lru' };

function withLimit(limits: LocalLimits, word: string, text: string): LocalLimits {
  const [, size, sizeUnit = ''] = /^size=(\d+(?:\.\d+)?)([a-z]*)$/i.exec(word) ?? [];
  const unit = UNITS[sizeUnit.toLowerCase()];
  if (size !== undefined && unit !== undefined) return { ...limits, maxBytes: Number(size) * unit };
  const [, age, ageUnit = 's'] = /^age=(\d+(?:\.\d+)?)([smhd])$/.exec(word) ?? [];
  if (age !== undefined) return { ...limits, maxAgeSeconds: Number(age) * (TIMES[ageUnit] ?? 1) };
  const evict = EVICTION_POLICIES.find(
    (known): known is EvictionPolicy => word === `evict=${known}`,
  );
  if (evict !== undefined) return { ...limits, evict };
  throw new MbuildError('USAGE', `${JSON.stringify(text)} is not a policy`, {
    hint: `limits are size=5GB, age=72h, evict=${EVICTION_POLICIES.join('|')}`,
  });
}

function localStorage(limits: LocalLimits): Storage {
  return limits.maxBytes === undefined && limits.maxAgeSeconds === undefined
    ? new EndlessStorage()
    : new LocalStorage(limits);
}
