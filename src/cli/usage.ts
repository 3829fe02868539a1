import { MbuildError } from '../diagnostics/error';

/** A mistake on the command line, and the way out of it. */
export function usage(message: string, hint?: string): MbuildError {
  return new MbuildError('USAGE', message, { hint });
}
