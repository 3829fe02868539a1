import type { Diagnostic } from '../diagnostics/error';
import type { Platform } from '../oci/platform';
import type { NetworkMode } from '../sandbox/sandbox';
import type { BaseImage, NamedContext, RunSettings } from './graph';

/** What a Dockerfile is planned with. */
export interface PlanOptions {
  readonly target?: string | undefined;
  /** Of the image that comes out. */
  readonly platform: Platform;
  /** True when the platform was asked for: the image then claims it, whatever its base is for. */
  readonly isPlatformGiven?: boolean | undefined;
  /** Of the machine that builds. */
  readonly buildPlatform: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly network: NetworkMode;
  readonly allowInsecure: boolean;
  readonly run?: RunSettings | undefined;
  /**
   * Names of `--build-context`: they go before images of that name, and replace stages of that name
   * with all their instructions.
   */
  readonly contexts: readonly string[];
  /** What one of them stands for; files when absent. */
  readonly namedContext?: ((name: string, platform: Platform) => Promise<NamedContext>) | undefined;
  /** Finds an image of FROM or `--from`. */
  readonly findImage: (name: string, platform: Platform) => Promise<BaseImage>;
  readonly warn: (diagnostic: Diagnostic) => void;
}

/** One of the things that a build makes. */
export type PlanTarget = Pick<PlanOptions, 'target' | 'platform'>;
