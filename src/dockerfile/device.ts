import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { fieldsOf, readBoolean, splitField } from './flag-fields';
import type { Flag } from './instruction';

/** One `RUN --device`. */
export interface DeviceRequest {
  /** `vendor/class=device`; `vendor/class` is the first of them, `vendor/class=*` all. */
  readonly name: string;
  /** Without it, a device that is not there is left out. */
  readonly required: boolean;
}

const KEYS: readonly string[] = ['name', 'required'];
const EXAMPLE = 'vendor.com/class=name';

/**
 * The devices of a RUN, in order: `--device=vendor/class=device,required` or
 * `--device=name=vendor/class=device`. Variables are not expanded.
 * @throws {MbuildError} DOCKERFILE_SYNTAX, placed at the flag.
 */
export function readDevices(flags: readonly Flag[]): DeviceRequest[] {
  return flags.flatMap((flag) => (flag.name === 'device' ? [readDevice(flag)] : []));
}

function readDevice(flag: Flag): DeviceRequest {
  const wrong = (message: string, hint?: string): MbuildError =>
    new MbuildError('DOCKERFILE_SYNTAX', message, { range: flag.range, hint });
  let name = '';
  let required = false;
  for (const field of fieldsOf(flag, EXAMPLE)) {
    const { key, value } = splitField(field);
    if (key === 'required') {
      const truth = readBoolean(value ?? 'true');
      if (truth === undefined)
        throw wrong(`"required" of a device must be true or false, not "${value}"`);
      required = truth;
    } else if (key === 'name' && value !== undefined) {
      if (name !== '')
        throw wrong(
          `the device is named twice: ${name} and ${value}`,
          'write one --device for each device',
        );
      name = value;
    } else if (name === '') {
      name = field;
    } else {
      throw wrong(
        `unknown option "${key}" of a device`,
        didYouMean(key, KEYS) ?? 'a device has a name, and may be required',
      );
    }
  }
  if (name === '') throw wrong('--device names no device', `e.g. --device=${EXAMPLE}`);
  return { name, required };
}
