import type { CacheRecord } from '../cache/record';
import type { KeyInput, KeyValue, CacheKey } from '../cache/key';
import { MbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { BuildRecord, StepRecord } from '../history/build-record';
import type { ChainID } from '../oci/digest';
import { DEFAULT_CAPABILITIES, type Capability } from '../sandbox/capabilities';
import type { LayerId, Stack } from '../snapshot/snapshotter';
import { KeptSteps, type KeptMount, type KeptRun } from './kept-step';
import type { StepPlace } from './open-step';

/** A step of a build that somebody can stand in. */
export interface FoundStep extends StepPlace {
  /** What is not as it was, one sentence each. */
  readonly notes: readonly string[];
  /** The command of a RUN. */
  readonly command?: readonly string[] | undefined;
}

/** A step of a recorded build, before or after what it does. */
export interface StepQuestion {
  readonly build: BuildRecord;
  readonly step: StepRecord;
  readonly before: boolean;
}

type Store = Pick<Engine, 'root' | 'cache' | 'layers' | 'images'>;

/**
 * Where a step stands: a failed one on the tree that its command left, another on its layer.
 * @throws MbuildError BUILD_NOT_FOUND when its tree is not there any more.
 */
export function findStep({ build, step, before }: StepQuestion, store: Store): FoundStep {
  const kept = new KeptSteps(store.root).get(build.id, step.row);
  if (kept !== undefined) {
    const withheld = kept.withheld.map(
      (name) => `${name} is not set: a secret's value was in it, which is not kept`,
    );
    const stack = before ? kept.stack.slice(0, -1) : kept.stack;
    return { stack, run: kept.run, notes: withheld, command: kept.run.args };
  }
  if (step.failed === true && !before)
    throw new MbuildError('BUILD_NOT_FOUND', `the tree of the failed step ${step.name} is gone`, {
      hint: 'failed steps are kept for a day within --keep-failed; --before shows the tree that the step began with',
    });
  const place = { build, step };
  const stack = before ? stackBefore(place, store) : stackAfter(place, store);
  return { stack, ...runOf(place, store) };
}

type Place = Omit<StepQuestion, 'before'>;

function stackAfter({ build, step }: Place, store: Store): Stack {
  const record = store.cache.get(step.key as CacheKey);
  const chain = record?.layer?.chainId;
  if (chain !== undefined) return stackOf(chain, step, store);
  if (record === undefined && step.layer !== undefined) throw gone(step);
  return stackBefore({ build, step }, store);
}

function stackBefore({ build, step }: Place, store: Store): Stack {
  const record = store.cache.get(step.key as CacheKey);
  const chain = record?.layer?.chainId;
  if (chain !== undefined) return stackOf(chain, step, store).slice(0, -1);
  const above = stepsOfStage(build, step)[step.index - 1];
  if (above !== undefined) return stackAfter({ build, step: above }, store);
  const parent = (step.input ?? record?.input)?.parent;
  const made = store.cache.list().find(({ result }) => result === parent);
  if (made?.layer !== undefined) return stackOf(made.layer.chainId, step, store);
  const base = build.bases.find(
    ({ stage, platform }) => stage === step.stage && (platform ?? step.platform) === step.platform,
  );
  if (base === undefined) return [];
  const image = store.images.find(base.digest);
  if (image === undefined)
    throw new MbuildError('BUILD_NOT_FOUND', `the base image ${base.name} is not in the store`, {
      hint: `mbuild pull ${base.name}`,
    });
  return image.stack;
}

/** The steps of its stage and platform, in order. */
function stepsOfStage({ steps }: BuildRecord, { stage, platform }: StepRecord): StepRecord[] {
  return steps
    .filter((one) => one.stage === stage && one.platform === platform)
    .sort((a, b) => a.index - b.index);
}

function stackOf(top: ChainID, step: StepRecord, { layers }: Store): Stack {
  const stack: LayerId[] = [];
  for (let chain: ChainID | undefined = top; chain !== undefined;) {
    const layer = layers.get(chain);
    if (layer === undefined) throw gone(step);
    stack.unshift(layer.id);
    chain = layer.parent;
  }
  return stack;
}

function gone(step: StepRecord): MbuildError {
  return new MbuildError('BUILD_NOT_FOUND', `the layers of ${step.name} are not in the store`, {
    hint: 'a prune took them; build again, and they are made anew',
  });
}

/** What the step is run with; of a COPY, what the nearest RUN of its stage is run with. */
function runOf({ build, step }: Place, store: Store): Pick<FoundStep, 'run' | 'notes' | 'command'> {
  const steps = stepsOfStage(build, step);
  const at = steps.indexOf(step);
  const near = [step, ...steps.slice(0, at).reverse(), ...steps.slice(at + 1)];
  for (const one of near) {
    const input = one.input ?? store.cache.get(one.key as CacheKey)?.input;
    if (input?.kind !== 'run') continue;
    const { run, lost } = runOfInput(input);
    if (one === step)
      return {
        run,
        command: run.args,
        notes: lost.map((target) => `the mount on ${target} is not kept`),
      };
    return {
      run: { ...run, mounts: [] },
      notes: [`environment, user and directory are those of ${one.name}`],
    };
  }
  return {
    run: PLAIN,
    notes: ['no RUN of its stage is known: root, in /, with a plain environment'],
  };
}

const SETTINGS: KeptRun['settings'] = { limits: {}, ulimits: [], extraHosts: [], resolver: {} };
const PLAIN: KeptRun = {
  args: [],
  env: [],
  cwd: '/',
  user: '',
  network: 'host',
  insecure: false,
  mounts: [],
  settings: SETTINGS,
};

/** Reads what a key says of a RUN (solver/key-inputs.ts). */
function runOfInput({ inputs }: Pick<KeyInput | CacheRecord['input'], 'inputs'>): {
  readonly run: KeptRun;
  readonly lost: readonly string[];
} {
  const mounts = list(inputs['mounts']);
  const known = mounts.flatMap((mount) => keptMount(mount) ?? []);
  const lost = mounts
    .filter((mount) => keptMount(mount) === undefined)
    .map((mount) => text(fieldsOf(mount)['target']));
  const capabilities = inputs['capabilities'];
  return {
    lost,
    run: {
      ...PLAIN,
      args: list(inputs['args']).map(text),
      env: list(inputs['env']).map(text),
      cwd: text(inputs['cwd']) || '/',
      user: text(inputs['user']),
      network: inputs['network'] === 'none' ? 'none' : 'host',
      insecure: inputs['insecure'] === true,
      capabilities:
        capabilities === undefined
          ? DEFAULT_CAPABILITIES
          : (list(capabilities).map(text) as Capability[]),
      noNewPrivileges: inputs['noNewPrivileges'] === true ? true : undefined,
      hostname: inputs['hostname'] === undefined ? undefined : text(inputs['hostname']),
      volumes: list(inputs['volumes']).map((volume) => {
        const { source, target, readonly } = fieldsOf(volume);
        return { source: text(source), target: text(target), readonly: readonly === true };
      }),
      mounts: known,
    },
  };
}

/** A mount whose content the key does not have to tell; `undefined` for one of files. */
function keptMount(value: KeyValue): KeptMount | undefined {
  const { content, ...said } = fieldsOf(value);
  const { kind } = said;
  if (kind === 'bind' || (kind === 'cache' && content !== undefined && content !== null))
    return undefined;
  if (kind === 'secret') return { required: false, ...said } as unknown as KeptMount;
  if (kind === 'ssh')
    return { required: false, mode: 0o600, uid: 0, gid: 0, ...said } as unknown as KeptMount;
  return said as unknown as KeptMount;
}

function fieldsOf(value: KeyValue): Readonly<Record<string, KeyValue>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, KeyValue>>)
    : {};
}

function list(value: KeyValue): readonly KeyValue[] {
  return Array.isArray(value) ? (value as readonly KeyValue[]) : [];
}

function text(value: KeyValue): string {
  return typeof value === 'string' ? value : '';
}
