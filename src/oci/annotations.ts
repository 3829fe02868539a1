/** Where an annotation goes: into a manifest or an index, or into what points at one of them. */
export type AnnotationLevel = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor';

export const ANNOTATION_LEVELS: readonly AnnotationLevel[] = [
  'manifest',
  'index',
  'manifest-descriptor',
  'index-descriptor',
];

/** One annotation that is asked for. OCI image-spec, annotations.md. */
export interface Annotation {
  readonly level: AnnotationLevel;
  /** `os/architecture[/variant]`: for the image of this platform alone. */
  readonly platform?: string | undefined;
  readonly key: string;
  readonly value: string;
}

/** Annotations as a manifest, an index or a descriptor has them. */
export type AnnotationMap = Readonly<Record<string, string>>;

/** Those of a level that an image of a platform has; `undefined` for none. Later ones win. */
export function annotationsAt(
  level: AnnotationLevel,
  annotations: readonly Annotation[] | undefined,
  platform: string,
): AnnotationMap | undefined {
  const wanted = (annotations ?? []).filter(
    (one) => one.level === level && (one.platform === undefined || one.platform === platform),
  );
  if (wanted.length === 0) return undefined;
  return Object.fromEntries(wanted.map(({ key, value }) => [key, value]));
}

/** Whether some can only be kept where there is an index. */
export function needIndex(annotations: readonly Annotation[] | undefined): boolean {
  return (annotations ?? []).some(({ level }) => level === 'index' || level === 'index-descriptor');
}
