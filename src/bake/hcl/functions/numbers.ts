import { define, defineVariadic, refuse, type Library } from './define';

/** Arithmetic and comparison. */
export const NUMBERS: Library = {
  absolute: define(['number'], Math.abs),
  add: define(['number', 'number'], (a, b) => a + b),
  subtract: define(['number', 'number'], (a, b) => a - b),
  multiply: define(['number', 'number'], (a, b) => a * b),
  divide: define(['number', 'number'], (a, b) => a / notZero(b)),
  modulo: define(['number', 'number'], (a, b) => a % notZero(b)),
  negate: define(['number'], (a) => -a),
  pow: define(['number', 'number'], (a, b) => a ** b),
  log: define(['number', 'number'], (value, base) => Math.log(value) / Math.log(base)),
  ceil: define(['number'], Math.ceil),
  floor: define(['number'], Math.floor),
  int: define(['number'], Math.trunc),
  signum: define(['number'], Math.sign),
  max: defineVariadic([], 'number', (_, all) => Math.max(...some(all))),
  min: defineVariadic([], 'number', (_, all) => Math.min(...some(all))),
  parseint: define(['string', 'number'], parseInteger),
  lessthan: define(['number', 'number'], (a, b) => a < b),
  lessthanorequalto: define(['number', 'number'], (a, b) => a <= b),
  greaterthan: define(['number', 'number'], (a, b) => a > b),
  greaterthanorequalto: define(['number', 'number'], (a, b) => a >= b),
  and: define(['bool', 'bool'], (a, b) => a && b),
  or: define(['bool', 'bool'], (a, b) => a || b),
  not: define(['bool'], (a) => !a),
};

function notZero(divisor: number): number {
  if (divisor === 0) throw refuse('division by zero');
  return divisor;
}

function some(all: readonly number[]): readonly number[] {
  if (all.length === 0) throw refuse('at least one number is needed');
  return all;
}

function parseInteger(text: string, base: number): number {
  if (!Number.isInteger(base) || base < 2 || base > 36)
    throw refuse('the base must be a whole number from 2 to 36');
  const digits = '0123456789abcdefghijklmnopqrstuvwxyz'.slice(0, base);
  if (!new RegExp(`^[+-]?[${digits}]+$`, 'i').test(text))
    throw refuse(`${JSON.stringify(text)} is not a number of base ${base}`);
  return Number.parseInt(text, base);
}
