import { readDevices } from '../../src/dockerfile/device';

/** The devices of `RUN --device=VALUE`. */
function devices(...values: string[]): unknown {
  const flags = values.map((value) => ({
    name: 'device',
    value,
    range: { start: { line: 1, column: 1 }, end: { line: 1, column: 9 } },
  }));
  return readDevices(flags);
}

describe('RUN --device', () => {
  it.each([
    ['vendor.com/gpu=0', { name: 'vendor.com/gpu=0', required: false }],
    ['vendor.com/gpu', { name: 'vendor.com/gpu', required: false }],
    ['name=vendor.com/gpu=0', { name: 'vendor.com/gpu=0', required: false }],
    ['vendor.com/gpu=*,required', { name: 'vendor.com/gpu=*', required: true }],
    ['required=true,vendor.com/gpu=0', { name: 'vendor.com/gpu=0', required: true }],
    ['"vendor.com/gpu=0",REQUIRED=0', { name: 'vendor.com/gpu=0', required: false }],
  ])('%s is read', (value, expected) => expect(devices(value)).toEqual([expected]));

  it('may be given several times', () =>
    expect(devices('a/b=1', 'a/b=2')).toEqual([
      { name: 'a/b=1', required: false },
      { name: 'a/b=2', required: false },
    ]));

  it.each([
    ['', '--device needs options'],
    ['required', '--device names no device'],
    ['a/b=1,name=a/b=2', 'the device is named twice: a/b=1 and a/b=2'],
    ['a/b=1,requird', 'unknown option "requird" of a device'],
    ['a/b=1,required=maybe', '"required" of a device must be true or false, not "maybe"'],
    ['"a/b=1', 'a quote is left open in --device="a/b=1'],
  ])('%s is refused', (value, message) =>
    expect(() => devices(value)).toThrow(
      expect.objectContaining({ code: 'DOCKERFILE_SYNTAX', message }),
    ),
  );
});
