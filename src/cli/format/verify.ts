import { visible } from '../../diagnostics/visible';
import type { ImageDifference, LayerDifference } from '../../verify/compare-images';
import type { FieldDifference, FileDifference, TarDifference } from '../../verify/difference';
import type { StepDifference, TwiceReport } from '../../verify/twice';

/** Files of the first difference that are listed; those of later ones are counted. */
const MOST_FILES = 20;
const MOST_LETTERS = 100;

/** What building twice came to, in words. */
export function showTwice(report: TwiceReport): string {
  const {
    same,
    steps: [first, ...later],
    images,
  } = report;
  const lines = [
    ...(first === undefined
      ? []
      : [`${first.step} (line ${first.line}) gives different results:`, ...tarLines(first)]),
    ...later.map(
      (step) =>
        `also different, perhaps because of that: ${step.step} (line ${step.line}), ${counted(step)}`,
    ),
    ...images.flatMap(({ config, history }) => [
      ...fieldLines('config', config),
      ...fieldLines('history', history),
    ]),
    ...(same ? ['Both builds made the same image.'] : []),
    ...(report.ignoredTimes === 0
      ? []
      : [
          `Only times differ, which count only if SOURCE_DATE_EPOCH is set: ${report.ignoredTimes}, of files, image and history.`,
        ]),
  ];
  return `${lines.map(visible).join('\n')}\n`;
}

/** Why two images differ, in words. */
export function showImageDifference(difference: ImageDifference): string {
  const {
    same,
    sameId,
    sameDigest,
    layers: [first, ...later],
    config,
    history,
    manifest,
    ignoredTimes,
  } = difference;
  const lines = [
    ...(first === undefined
      ? []
      : [`layer ${first.layer} differs, ${madeBy(first)}:`, ...tarLines(first)]),
    ...later.map(
      (layer) => `layer ${layer.layer} differs too, ${madeBy(layer)}, ${counted(layer)}`,
    ),
    ...fieldLines('config', config),
    ...fieldLines('history', history),
    ...(sameId && manifest.some(({ field }) => field.startsWith('layers['))
      ? ['The layers have the same content; they are compressed or named differently.']
      : []),
    ...fieldLines('manifest', manifest),
    ...(ignoredTimes === 0 ? [] : [`Ignored differences in times: ${ignoredTimes}.`]),
    ...(same
      ? [sameId && sameDigest ? 'The images are the same to the byte.' : 'Nothing else differs.']
      : []),
  ];
  return `${lines.map(visible).join('\n')}\n`;
}

/** How many files differ in what counts: for steps that are only named. */
function counted({ files, written }: StepDifference | LayerDifference): string {
  return written === undefined
    ? `${files.length} file${files.length === 1 ? '' : 's'}`
    : `written ${written}`;
}

function madeBy({ first, second }: LayerDifference): string {
  if (first === undefined)
    return `only in the second image, by ${shortened(second?.madeBy ?? 'an unknown instruction')}`;
  if (second === undefined)
    return `only in the first image, by ${shortened(first.madeBy ?? 'an unknown instruction')}`;
  if (first.madeBy === second.madeBy)
    return `made by ${shortened(first.madeBy ?? 'an unknown instruction')}`;
  return `made by ${shortened(first.madeBy ?? 'an unknown instruction')} and by ${shortened(second.madeBy ?? 'an unknown instruction')}`;
}

function tarLines({ files, written }: TarDifference): string[] {
  if (written !== undefined)
    return [
      `  the same files ${written === 'in another order' ? 'stand in the tar in another order' : 'are written as a tar of another form (dialect, padding)'}`,
    ];
  const shown = files.slice(0, MOST_FILES).flatMap(fileLines);
  return files.length <= MOST_FILES
    ? shown
    : [...shown, `  and ${files.length - MOST_FILES} more files (--format json has them all)`];
}

function fileLines({ path, kind, fields }: FileDifference): string[] {
  if (kind !== 'changed') return [`  ${path}: ${kind}`];
  return fields.map((field) => `  ${path}: ${fieldText(field)}`);
}

function fieldText({ field, first, second, at }: FieldDifference): string {
  if (at !== undefined) return `${field} from byte ${at.offset} on, ${at.first} and ${at.second}`;
  return `${field} ${shortened(first ?? 'not there')} and ${shortened(second ?? 'not there')}`;
}

function fieldLines(part: string, fields: readonly FieldDifference[]): string[] {
  return fields.map((field) => `${part}: ${fieldText(field)}`);
}

function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length <= MOST_LETTERS ? line : `${line.slice(0, MOST_LETTERS - 1)}…`;
}
