/** Something that went into an image. */
export interface Material {
  readonly uri: string;
  /** By algorithm, in hexadecimal digits. */
  readonly digest: Readonly<Record<string, string>>;
}

/**
 * What the build was asked for. Names and members are BuildKit's, so that readers of its provenance
 * find them.
 */
export interface BuildRequestFacts {
  readonly frontend: string;
  /** `build-arg:NAME`, `label:NAME`, `target`, …; left out in mode `min`. */
  readonly args?: Readonly<Record<string, string>> | undefined;
  readonly secrets?: readonly { readonly id: string; readonly optional: boolean }[] | undefined;
  readonly ssh?: readonly { readonly id: string; readonly optional: boolean }[] | undefined;
  /** Trees of this machine: they have no digest. */
  readonly locals?: readonly { readonly name: string }[] | undefined;
}

/** A step of the image. */
export interface StepFacts {
  readonly id: string;
  /** As progress shows it. */
  readonly name: string;
  readonly stage: string;
  /** In the Dockerfile. */
  readonly line: number;
  /** Hash of all that its result depends on. */
  readonly key: string;
  readonly cached: boolean;
  /** How long it ran: now, or when the result in the cache was made. */
  readonly durationMs: number;
  readonly layer?: { readonly diffId: string; readonly size: number } | undefined;
}

/** What is known of how an image was made, whatever the version of the predicate is. */
export interface BuildFacts {
  readonly builderId: string;
  /** Of mbuild. */
  readonly version: string;
  readonly invocationId: string;
  /** RFC 3339. */
  readonly startedOn: string;
  readonly finishedOn: string;
  readonly builderPlatform: string;
  readonly isReproducible: boolean;
  /** All that went in is among the materials. */
  readonly isComplete: boolean;
  readonly materials: readonly Material[];
  /** Where the Dockerfile is from. `uri` is absent for one of this machine. */
  readonly source: Partial<Material> & { readonly path: string };
  readonly request: BuildRequestFacts;
  /** In mode `max`. */
  readonly details?:
    | {
        readonly steps: readonly StepFacts[];
        readonly dockerfile: { readonly filename: string; readonly text: string };
      }
    | undefined;
}
