import { defineCommand } from '../command';
import { SCRIPTS, SHELLS, type Shell } from '../shell/scripts';
import { usage } from '../usage';
import { didYouMean } from '../../diagnostics/suggest';

export const command = defineCommand({
  name: 'completion',
  summary: 'Print the completion script for a shell',
  usage: ['bash|zsh|fish'],
  positionals: { min: 1, max: 1 },
  flags: {},
  notes: [
    'In bash:  source <(mbuild completion bash)',
    'In zsh:   source <(mbuild completion zsh), after compinit',
    'In fish:  mbuild completion fish | source',
  ],
  run: ({ positionals: [shell = ''] }, host) => {
    if (!isShell(shell))
      throw usage(
        `unknown shell ${JSON.stringify(shell)}`,
        didYouMean(shell, SHELLS) ?? `shells are ${SHELLS.join(', ')}`,
      );
    host.out.write(SCRIPTS[shell]);
    return Promise.resolve(0);
  },
});

function isShell(text: string): text is Shell {
  return SHELLS.some((shell) => shell === text);
}
