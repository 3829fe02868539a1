import { visible, visibleLines } from '../diagnostics/visible';
import type { SectionForm } from './sections';

/**
 * Orders to the runner of GitHub Actions: actions/toolkit, packages/core/src/command.ts, and docs "Workflow commands for GitHub
 * Actions". Each stands at the start of a line of its own.
 */

/** Groups; they can't be nested. */
export const GITHUB_SECTIONS: SectionForm = {
  open: ({ title }) => `::group::${dataOf(title)}\n`,
  close: () => '::endgroup::\n',
};

/** What is shown at a line of a file in the changes of a pull request. */
export interface Annotation {
  readonly severity: 'error' | 'warning';
  /** Short: a stable code or the name of a rule. */
  readonly title: string;
  readonly message: string;
  /** Path from the repository's root. */
  readonly file?: string | undefined;
  /** From 1. */
  readonly line?: number | undefined;
  readonly endLine?: number | undefined;
}

/** GitHub shows so many errors and so many warnings of a step; docs, "Usage limits". */
const SHOWN = 10;

/** The orders for annotations, at most ten errors and ten warnings; of more it says how many. */
export function githubAnnotations(annotations: readonly Annotation[]): string {
  return (['error', 'warning'] as const)
    .map((severity) => {
      const all = annotations.filter((annotation) => annotation.severity === severity);
      const rest = all.length - SHOWN;
      return [
        ...all.slice(0, SHOWN).map(annotationOrder),
        ...(rest > 0 ? [`${rest} more ${severity}s have no annotation\n`] : []),
      ].join('');
    })
    .join('');
}

/** The order by which the runner hides a text in all that follows. Give it no more than a line. */
export function maskOrder(secret: string): string {
  return `::add-mask::${dataOf(secret)}\n`;
}

function annotationOrder({ severity, title, message, ...place }: Annotation): string {
  const properties = Object.entries({
    file: place.file === undefined ? undefined : visible(place.file),
    line: place.line,
    endLine: place.endLine,
    title: visible(title),
  }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${propertyOf(String(value))}`],
  );
  return `::${severity} ${properties.join(',')}::${dataOf(visibleLines(message))}\n`;
}

function dataOf(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

function propertyOf(text: string): string {
  return dataOf(text).replace(/:/g, '%3A').replace(/,/g, '%2C');
}
