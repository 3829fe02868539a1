import type { ContainerSandbox } from '../sandbox';

/** What was found out about an isolation. */
export interface Finding {
  readonly works: boolean;
  /** What it gives, where it works; what is in the way, where it does not. */
  readonly why: string;
  /** A command or a setting that would make it work, or work better. */
  readonly fix?: string | undefined;
}

/** Where an isolation is tried out, and for whom. */
export interface Trial {
  /** A directory to try things in. */
  readonly scratch: string;
  /** The user of the machine who asks. */
  readonly uid: number;
  /** What was found of the isolations that stand before it in the table. */
  readonly better: readonly Finding[];
}

/** What a sandbox is made from. */
export interface SandboxPlace {
  /**
   * A directory of the store, on the file system of its trees, for what the sandbox itself needs.
   */
  readonly state: string;
  /** Name or path of the program for an isolation that has the command run by one. */
  readonly runtime?: string | undefined;
}

/**
 * One way to keep RUN apart from its surroundings. Every start of mbuild loads all of them: what is
 * heavy stands in other files, which {@link examine} and {@link makeSandbox} import.
 */
export interface Isolation<Name extends string = string> {
  /** As `--isolation` names it. */
  readonly name: Name;
  /** Whether trees can be mounted in it; where not, a command is given a plain copy of its tree. */
  readonly mounts: boolean;
  /**
   * For whom it is: names that `doctor` shows to others too, and that an error about RUN leaves out
   * for them.
   */
  readonly forRoot: boolean;
  /**
   * Which ids an ordinary user's command line has to have for it: those of /etc/subuid as root of a
   * user namespace, its own alone as root of one, or its own outside of any. Whatever can be made,
   * when absent.
   */
  readonly ids?: 'ranges' | 'one' | 'own' | undefined;
  /** Whether this process has the rights for it, as far as that is seen without trying. */
  isPossible(): boolean | Promise<boolean>;
  /**
   * Whether this process takes it when none is asked for; missing for an isolation that has to be
   * asked for.
   * @param canMount false where it was found out that mounting is forbidden although the capability
   * is there.
   */
  readonly isChosen?: ((canMount: boolean) => boolean) | undefined;
  /** Tries it out. */
  examine(trial: Trial): Promise<Finding>;
  /**
   * @throws MbuildError SANDBOX_UNAVAILABLE where something is missing that {@link isPossible} does
   * not look at.
   */
  makeSandbox(place: SandboxPlace): Promise<ContainerSandbox>;
}
