import type { Instruction } from '../../dockerfile/instruction';
import type { Rule } from '../rule';
import type { StageScope } from '../scope';

/** `80/TCP`. */
export const exposeProtoCasing: Rule = {
  name: 'ExposeProtoCasing',
  description: 'Protocol in EXPOSE instruction should be lowercase',
  instruction: (instruction, scope, _subject, report) => {
    for (const port of portsOf(instruction, scope)) {
      const protocol = port.slice(port.lastIndexOf('/') + 1);
      if (port.includes('/') && protocol !== protocol.toLowerCase())
        report(instruction, `Defined protocol '${port}' in EXPOSE instruction should be lowercase`);
    }
  },
};

/** `127.0.0.1:80:80`: what is published where is not the image's to say. */
export const exposeInvalidFormat: Rule = {
  name: 'ExposeInvalidFormat',
  description:
    'IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release',
  instruction: (instruction, scope, _subject, report) => {
    for (const port of portsOf(instruction, scope)) {
      if (port.includes(':'))
        report(
          instruction,
          `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`,
        );
    }
  },
};

function portsOf(instruction: Instruction, scope: StageScope): string[] {
  return instruction.keyword === 'EXPOSE'
    ? [...instruction.words].sort().flatMap((word) => scope.expandWords(word))
    : [];
}
