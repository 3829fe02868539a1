import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { commandText, shellIn } from '../debug/shell';
import { visible } from '../diagnostics/visible';
import type { Engine } from '../engine';
import { removeTree } from '../linux/remove-tree';
import type { BuildEvent, BuildScope } from '../progress/events';
import type { ProcessSpec, Rootfs } from '../sandbox/sandbox';
import type { Decided, FailedRun, FailedRunHandler } from '../solver/failed-run';
import { runIn } from './commands/debug';
import type { Host } from './host';

/** A build's progress, and what it does where a RUN fails. */
export interface AskingBuild {
  readonly scope: BuildScope;
  readonly onFailedRun: FailedRunHandler;
}

/**
 * `--on-error=shell`: opens a shell in each RUN that fails, and asks what becomes of it. Progress
 * waits meanwhile; other steps go on.
 */
export function askOnFailure(engine: Engine, host: Host, scope: BuildScope): AskingBuild {
  const waiting: BuildEvent[] = [];
  let isOpen = true;
  const events = (event: BuildEvent): void => {
    if (isOpen) scope.events(event);
    else waiting.push(event);
  };
  let last: Promise<unknown> = Promise.resolve();
  const ask = async (failed: FailedRun): Promise<Decided | undefined> => {
    isOpen = false;
    try {
      await shellInFailure(failed, engine, host);
      return await decision(host);
    } finally {
      isOpen = true;
      for (const event of waiting.splice(0)) scope.events(event);
    }
  };
  return {
    scope: { ...scope, events },
    onFailedRun: (failed) => {
      const turn = last.then(() => ask(failed));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function shellInFailure(failed: FailedRun, engine: Engine, host: Host): Promise<void> {
  const { spec, operation, active, step, error } = failed;
  const shell = shellIn({
    spec: renewed(spec),
    view: engine.snapshots.view(active.parent),
    snapshots: engine.snapshots,
    failed: operation.args,
  });
  try {
    const lines = [
      `${step.name}: ${error.message}`,
      `you are in the step, with its secrets; shell ${shell.title}; its command: ${commandText(operation.args)}`,
      'leave the shell to retry, continue or abort',
    ];
    host.err.write(`${lines.map(visible).join('\n')}\n`);
    await runIn(engine, shell.spec, host);
  } finally {
    shell.close();
  }
}

/** The kernel refuses a work directory of a `volatile` overlay that it has seen: overlayfs.rst. */
function renewed(spec: ProcessSpec): ProcessSpec {
  const roots = [spec.rootfs, ...spec.mounts.flatMap((mount) => rootfsOf(mount))];
  for (const rootfs of roots) {
    if (rootfs.kind === 'directory') continue;
    removeTree(rootfs.work);
    mkdirSync(rootfs.work, { mode: 0o700 });
  }
  return spec;
}

function rootfsOf(mount: ProcessSpec['mounts'][number]): Rootfs[] {
  return mount.kind === 'overlay' ? [mount.rootfs] : [];
}

/** Asks until there is an answer; the end of input is `abort`. */
async function decision(host: Host): Promise<Decided | undefined> {
  const lines = createInterface({ input: host.stdin(), terminal: false });
  const question =
    'retry (again, on a fresh tree), continue (take the tree as it is, for this build), or abort? ';
  try {
    host.err.write(question);
    for await (const line of lines) {
      const word = line.trim().toLowerCase();
      if (word !== '' && 'retry'.startsWith(word)) return 'retry';
      if (word !== '' && 'continue'.startsWith(word)) return 'take';
      if (word !== '' && 'abort'.startsWith(word)) return undefined;
      host.err.write(question);
    }
    return undefined;
  } finally {
    lines.close();
  }
}
