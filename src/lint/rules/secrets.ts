import type { Rule } from '../rule';

const SECRET = /(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
/** A public key, the path of a file with a secret, the version of a key: Dockerfile 1.26. */
const NO_SECRET = /(?:^|_)(?:public|file|version)(?:_|$)/i;

/** Whether a variable of this name holds a secret, as far as names tell. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name) && !NO_SECRET.test(name);
}

/**
 * What ARG and ENV hold stays in the image's config and history: `RUN --mount=type=secret` does
 * not.
 */
export const secretsUsedInArgOrEnv: Rule = {
  name: 'SecretsUsedInArgOrEnv',
  description: 'Sensitive data should not be used in the ARG or ENV commands',
  instruction: (instruction, scope, _subject, report) => {
    if (instruction.keyword !== 'ARG' && instruction.keyword !== 'ENV') return;
    const written = instruction.keyword === 'ARG' ? instruction.args : instruction.pairs;
    for (const { name } of written) {
      const key = scope.expand(name) ?? name;
      if (isSecretName(key))
        report(
          instruction,
          `Do not use ARG or ENV instructions for sensitive data (${instruction.keyword} "${key}")`,
        );
    }
  },
};
