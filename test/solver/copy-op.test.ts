import { applyChmod, parentMode, parseChmod } from '../../src/solver/copy-op';

describe('--chmod', () => {
  test.each([
    ['755', 0o644, false, 0o755],
    ['4711', 0o600, false, 0o4711],
    ['0', 0o644, false, 0],
    ['u+x', 0o644, false, 0o744],
    ['+x', 0o644, false, 0o755],
    ['u+x,go-r', 0o644, false, 0o700],
    ['a=rX', 0o1777, true, 0o1555],
    ['a=rX', 0o644, false, 0o444],
    ['a=rX', 0o744, false, 0o555],
    ['go-rwX,u=rw', 0o1777, true, 0o1600],
    ['g+s,+t', 0o644, false, 0o3644],
    ['u=rwx,go=', 0o4755, false, 0o700],
    ['g=u', 0o640, false, 0o660],
    ['u+s', 0o755, false, 0o4755],
    ['o+s', 0o755, false, 0o755],
    ['o+t', 0o755, false, 0o755],
    ['u+t', 0o755, false, 0o1755],
    ['g-t', 0o1755, false, 0o755],
    ['o-t', 0o1755, false, 0o1755],
    ['g=t', 0o1755, false, 0o1705],
    ['=t', 0o755, false, 0o1755],
    ['+xt', 0o644, false, 0o1644],
    ['u=r+w', 0o777, false, 0o677],
    ['a+r-w', 0o222, false, 0o444],
    ['u+x,a+X', 0o644, false, 0o744],
    ['a-x,a+X', 0o755, false, 0o755],
  ])('%s makes of %i', (text, mode, isDirectory, expected) => {
    expect(applyChmod(parseChmod(text), mode, isDirectory).toString(8)).toBe(expected.toString(8));
  });

  test.each(['', '99', '10000', 'rwx', 'u', 'u+y', 'z+x', 'u+x,', '-1'])(
    '%j is refused',
    (text) => {
      expect(() => parseChmod(text)).toThrow(
        expect.objectContaining({ code: 'DOCKERFILE_SEMANTIC' }),
      );
    },
  );

  test.each([
    ['700', 0o700],
    ['4711', 0o711],
    ['777', 0o755],
    ['660', 0o640],
    ['u+x', 0o755],
    [undefined, 0o755],
  ])('parents made under --chmod=%s', (text, expected) => {
    expect(parentMode(text === undefined ? undefined : parseChmod(text))).toBe(expected);
  });
});
