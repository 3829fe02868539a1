import type { Definition } from './target';

/** A target or a group, for `--list targets`. */
export interface Listed {
  readonly name: string;
  readonly description?: string | undefined;
  /** Absent for a target. */
  readonly group?: true | undefined;
}

/** Targets and groups by name; names that begin with `_` are private by convention. */
export function listTargets({ targets, groups }: Definition): Listed[] {
  const found = new Map<string, Listed>();
  for (const { name, attributes } of targets)
    found.set(`target ${name}`, {
      name,
      description: attributes.description ?? found.get(`target ${name}`)?.description,
    });
  for (const { name, description, targets: members } of groups)
    found.set(`group ${name}`, { name, description: groupText(description, members), group: true });
  return [...found.values()]
    .filter(({ name }) => !name.startsWith('_'))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function groupText(description: string | undefined, targets: readonly string[]): string {
  const names = [...targets].sort().join(', ');
  return description === undefined || description === '' ? names : `${description} (${names})`;
}
