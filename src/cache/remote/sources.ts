/** How BuildKit names what is in an object store; a cache of mbuild lies beside one of BuildKit. */
export interface ObjectNames {
  /** Caches that are written; the first is read. */
  readonly names: readonly string[];
  /** In front of all names, as it is: `builds/`. */
  readonly prefix: string;
  readonly manifestsPrefix: string;
  readonly blobsPrefix: string;
}

/** `type=s3`: a bucket of AWS, or of whatever speaks its language. */
export interface S3Source extends ObjectNames {
  readonly type: 's3';
  readonly bucket: string;
  readonly region: string;
  /** Address of a service other than AWS. */
  readonly endpoint?: string | undefined;
  /** The bucket is in the path, not in the host's name. */
  readonly pathStyle: boolean;
  /** Absent: as the AWS tools find them, in the environment, files, web identity or the machine. */
  readonly credentials?:
    | {
        readonly accessKeyId: string;
        readonly secretAccessKey: string;
        readonly sessionToken?: string | undefined;
      }
    | undefined;
  /** Milliseconds after which a blob that is used again is made new, so that no rule expires it. */
  readonly touchAfterMs: number;
}

/** `type=azblob`: a container of an Azure storage account. */
export interface AzureSource extends ObjectNames {
  readonly type: 'azblob';
  /** `https://ACCOUNT.blob.core.windows.net`, perhaps with a shared access signature. */
  readonly accountUrl: string;
  readonly container: string;
  /** The account's key. Absent: as Azure's tools find a token. */
  readonly key?: string | undefined;
}

/** `type=gha`: the cache service of GitHub Actions, protocol version 2. */
export interface ActionsSource {
  readonly type: 'gha';
  /** Address of the service: ACTIONS_RESULTS_URL. */
  readonly url: string;
  /** ACTIONS_RUNTIME_TOKEN. */
  readonly token: string;
  /** Caches of other scopes are apart from this one. */
  readonly scope: string;
  /** Milliseconds that reading or writing may take. */
  readonly timeoutMs: number;
  /** Bytes of an entry; a larger cache is not written. */
  readonly maxSize: number;
}

/** How long the service may be silent, and how often it is asked. */
export interface ServicePatience {
  readonly silenceMs: number;
  readonly attempts: number;
}
