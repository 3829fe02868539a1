type Environment = Readonly<Record<string, string | undefined>>;

/** Whether a CI service runs this: nearly all set CI. */
export function isCi(env: Environment): boolean {
  return isSet(env['CI']) || isGithub(env) || isGitlab(env);
}

/** GitHub docs, "Variables reference". */
export function isGithub(env: Environment): boolean {
  return isSet(env['GITHUB_ACTIONS']);
}

/** GitLab docs, "Predefined CI/CD variables reference". */
export function isGitlab(env: Environment): boolean {
  return isSet(env['GITLAB_CI']);
}

function isSet(text: string | undefined): boolean {
  return text !== undefined && !['', '0', 'false', 'no'].includes(text.toLowerCase());
}
