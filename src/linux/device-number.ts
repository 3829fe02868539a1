/** A device number in its two parts. */
export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

/** The parts of `stats.rdev`, as the C library packs them (gnu_dev_major, gnu_dev_minor). */
export function decodeDevice(rdev: number): DeviceNumber {
  const high = Math.floor(rdev / 2 ** 32);
  const low = rdev % 2 ** 32;
  return {
    major: ((high & 0xfffff000) | ((low >>> 8) & 0xfff)) >>> 0,
    minor: (((low >>> 12) & 0xffffff00) | (low & 0xff)) >>> 0,
  };
}

/** Major and minor number in one, as the C library packs them (gnu_dev_makedev). */
export function encodeDevice(major: number, minor: number): number {
  return (
    (minor & 0xff) +
    (major & 0xfff) * 2 ** 8 +
    Math.floor(minor / 2 ** 8) * 2 ** 20 +
    Math.floor(major / 2 ** 12) * 2 ** 44
  );
}
