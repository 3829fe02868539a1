/** What a supervisor saw of processes that served other users, where there is one id. */
export interface Supervision {
  /** Users that processes became (su, setuid programs): what they made then is root's. */
  readonly users: readonly number[];
  /**
   * How many files were given away for which that could not be kept: no mark or attribute could
   * hold it.
   */
  readonly lost: number;
}
