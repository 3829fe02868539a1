/** What a build is to say about its images: `--attest`, `--provenance`, `--sbom`. */
export interface AttestationOptions {
  readonly provenance?: ProvenanceOptions | undefined;
  readonly sbom?: SbomOptions | undefined;
}

/** How the image was made. */
export interface ProvenanceOptions extends FileOptions {
  /**
   * `min`: what went in, and no values of arguments; `max`: also arguments, every step, and the
   * Dockerfile.
   */
  readonly mode: 'min' | 'max';
  /** Of SLSA's predicate. */
  readonly version: 'v1' | 'v0.2';
  /** The address of whatever ran the build, as `builder.id`. */
  readonly builderId?: string | undefined;
  /** The builder claims that another run gives the same. */
  readonly reproducible?: boolean | undefined;
}

/** Which packages are in it. */
export interface SbomOptions extends FileOptions {
  /** A name of `SBOM_FORMATS`. */
  readonly format: string;
}

interface FileOptions {
  /** It goes with images alone, and is not written beside files. */
  readonly inlineOnly?: boolean | undefined;
  /** In outputs that are files. */
  readonly fileName?: string | undefined;
}
