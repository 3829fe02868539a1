import type { KeyValue } from '../../cache/key';
import type {
  CopyOperation,
  CopySource,
  Operation,
  RunMount,
  RunOperation,
  TreeSource,
} from '../../graph/graph';
import {
  copyInputs,
  mkdirInputs,
  mountInput,
  runInputs,
  type OperationInputs,
} from '../../solver/key-inputs';
import type { FileQuery } from '../context/select';
import { withoutSymbols } from './bases';

/** What fills a hole of an input. */
export type Hole =
  /** What a query brings of the commit's context. */
  | { readonly kind: 'files'; readonly query: number }
  /** Files of a tree that nobody can look into: what the tree holds stands for them. `step` made it, else it is `result`. */
  | { readonly kind: 'tree'; readonly step: number | undefined; readonly result: KeyValue };

/** The inputs of a step, with holes for what differs from commit to commit. */
export interface InputForm {
  readonly holes: readonly Hole[];
  /** All inputs, with a mark for each hole. */
  readonly shape: OperationInputs;
  /** The inputs, the holes filled: one value each. */
  readonly fill: (values: readonly KeyValue[]) => OperationInputs;
}

/** Where the parts of a plan are kept that holes point at. */
export interface HoleOwner {
  query(query: FileQuery): number;
  tree(source: TreeSource): { readonly step: number | undefined; readonly result: KeyValue };
}

/** @param owner of a copy, as its key has it. */
export function operationForm(operation: Operation, owner: KeyValue, holes: HoleOwner): InputForm {
  switch (operation.kind) {
    case 'run':
      return runForm(operation, holes);
    case 'copy':
      return copyForm(operation, owner, holes);
    case 'mkdir': {
      const inputs = mkdirInputs(operation);
      return { holes: [], shape: inputs, fill: () => inputs };
    }
  }
}

function copyForm(operation: CopyOperation, owner: KeyValue, owners: HoleOwner): InputForm {
  const holes: Hole[] = [];
  const values = operation.sources.map((source): KeyValue | Hole => {
    if (source.kind !== 'path') return fetched(source, operation);
    const { parents, exclude } = operation;
    const query = { source: source.path, parents, exclude };
    return hole(operation.from, query, owners);
  });
  for (const value of values) if (isHole(value)) holes.push(value);
  const fill = (filled: readonly KeyValue[]): OperationInputs => {
    let at = 0;
    return copyInputs(
      operation,
      owner,
      values.map((value) => (isHole(value) ? filled[at++] : value)),
    );
  };
  return { holes, fill, shape: { ...fill(holes.map(markOf)), ...selectionOf(operation) } };
}

/** What of a tree's files is taken: where the files are not known, this is all that tells. */
function selectionOf({ from, sources, parents, exclude }: CopyOperation): OperationInputs {
  if (from.kind === 'context') return {};
  return {
    taken: sources.map((source) => ('path' in source ? source.path : '')),
    parents,
    exclude,
  };
}

/** What is fetched from elsewhere is taken as never changing. */
function fetched(
  source: Exclude<CopySource, { kind: 'path' }>,
  { checksum, keepGitDir, exclude }: CopyOperation,
): KeyValue {
  if (source.kind === 'inline') return ['inline', source.name, source.content];
  return [source.kind, source.url, checksum ?? source.url, keepGitDir, exclude];
}

function runForm(operation: RunOperation, owners: HoleOwner): InputForm {
  const holes: Hole[] = [];
  const mounts = operation.mounts.map((mount) => {
    const content = contentOf(mount, owners);
    if (content !== undefined) holes.push(content);
    return { mount, content };
  });
  const known = { ...operation, env: withoutSymbols(operation.env) };
  const fill = (values: readonly KeyValue[]): OperationInputs => {
    let at = 0;
    return runInputs(
      known,
      mounts.map(({ mount, content }) =>
        mountInput(mount, content === undefined ? undefined : [sourceOf(mount), values[at++]]),
      ),
    );
  };
  return { holes, fill, shape: fill(holes.map(markOf)) };
}

function contentOf(mount: RunMount, owners: HoleOwner): Hole | undefined {
  if (!('from' in mount) || mount.from === undefined) return undefined;
  const query = { source: mount.source, parents: false, exclude: [] };
  return hole(mount.from, query, owners);
}

function sourceOf(mount: RunMount): string {
  return 'source' in mount ? mount.source : '';
}

function hole(from: TreeSource, query: FileQuery, owners: HoleOwner): Hole {
  return from.kind === 'context'
    ? { kind: 'files', query: owners.query(query) }
    : { kind: 'tree', ...owners.tree(from) };
}

function isHole(value: KeyValue | Hole): value is Hole {
  return (
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    (value.kind === 'files' || value.kind === 'tree')
  );
}

function markOf({ kind }: Hole): string {
  return `hole ${kind}`;
}
