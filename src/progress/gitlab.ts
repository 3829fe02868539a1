import type { SectionForm } from './sections';

/** Erases the line, so that the order is not seen: ECMA-48, EL. */
const ERASE = '\x1b[0K';

/** Custom collapsible sections: GitLab docs, "CI/CD job logs". What is done without a failure is shown collapsed. */
export const GITLAB_SECTIONS: SectionForm = {
  open: ({ title, key, time, isQuiet }) =>
    `${ERASE}section_start:${seconds(time)}:${key}${isQuiet ? '[collapsed=true]' : ''}\r${ERASE}${title}\n`,
  close: ({ key, time }) => `${ERASE}section_end:${seconds(time)}:${key}\r${ERASE}\n`,
};

function seconds(time: number): number {
  return Math.floor(time / 1000);
}
