import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { MbuildError } from '../diagnostics/error';
import { firstProcess, type Container, type ContainerState } from './container';
import { removeContainer } from './remove';
import { deliver, parseSignal } from './signals';
import type { ContainerStore } from './store';
import { noteSubstitute } from './supervise';

/** Milliseconds between two looks at a container that is ending. */
const POLL = 20;
const SIGTERM = constants.signals.SIGTERM;

/**
 * Sends a signal to the first process of a container.
 * @throws MbuildError CONTAINER_CONFLICT when it does not run, or not here.
 */
export async function killContainer(
  container: Container,
  signal: number,
  store: ContainerStore,
): Promise<void> {
  const { record } = container;
  await deliver(firstProcess(container), signal, (number) =>
    noteSubstitute(record.id, store, number),
  );
}

/**
 * Asks a container to end, and ends it when it has not done so in time (seconds; its own when
 * absent). One that does not run is as good.
 */
export async function stopContainer(
  container: Container,
  store: ContainerStore,
  timeout?: number,
  signal?: number,
): Promise<void> {
  const { record, state } = container;
  if (state.status !== 'running') return;
  const target = firstProcess(container);
  const seconds = timeout ?? record.stopTimeout;
  const deadline = AbortSignal.timeout(seconds * 1000);
  const delivered = killContainer(
    container,
    signal ?? parseSignal(record.stopSignal) ?? SIGTERM,
    store,
  );
  const failed = new Promise<never>((_, reject) => void delivered.catch(reject));
  if ((await Promise.race([waitForEnd(container, store, deadline), failed])) === 'timeout')
    await deliver(target, constants.signals.SIGKILL, () => undefined);
  await delivered;
  await waitForEnd(container, store);
}

/**
 * Waits until a container has ended and its state says so; `undefined` when it is gone.
 * @returns `timeout` when `signal` is aborted before.
 */
export async function waitForEnd(
  { record }: Container,
  store: ContainerStore,
  signal?: AbortSignal,
): Promise<ContainerState | 'timeout' | undefined> {
  for (;;) {
    const state = store.state(record.id);
    if (state?.status !== 'running' && (state === undefined || !record.autoRemove)) return state;
    if (signal?.aborted === true) return 'timeout';
    await sleep(POLL);
  }
}

/** Removes a container; one that runs only by force. @throws MbuildError CONTAINER_CONFLICT. */
export async function stopAndRemove(
  container: Container,
  store: ContainerStore,
  root: string,
  options: { readonly force: boolean; readonly volumes: boolean },
): Promise<void> {
  const { record, state } = container;
  if (state.status === 'running') {
    if (!options.force) {
      throw new MbuildError('CONTAINER_CONFLICT', `the container ${record.name} is running`, {
        hint: `stop it first ('mbuild stop ${record.name}'), or use --force`,
      });
    }
    await killContainer(container, constants.signals.SIGKILL, store);
    await waitForEnd(container, store);
  }
  // One that removes itself is gone by now.
  if (store.state(record.id) !== undefined) removeContainer(record, store, root, options);
}
