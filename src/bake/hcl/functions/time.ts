import { object, type Value } from '../value';
import { define, refuse, type Library } from './define';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** Milliseconds of the units of Go's durations. */
const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 3.6e6,
};

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/;

/** A moment with the offset that it was written with, in minutes. */
interface Moment {
  readonly time: number;
  readonly offset: number;
}

/** Functions on moments. */
export const TIME: Library = {
  formatdate: define(['string', 'string'], (pattern, text) => formatMoment(pattern, parse(text))),
  formattimestamp: define(['string', 'any'], (pattern, value) => {
    const moment = momentOf(value);
    return pattern === 'X' ? String(Math.floor(moment.time / 1e3)) : formatMoment(pattern, moment);
  }),
  timeadd: define(['string', 'string'], (text, duration) => {
    const { time, offset } = parse(text);
    return rfc3339({ time: time + durationOf(duration), offset });
  }),
  timestamp: define([], () => rfc3339({ time: Date.now(), offset: 0 })),
  unixtimestampparse: define(['number'], (seconds) => describe(fromSeconds(seconds))),
};

function momentOf(value: Value): Moment {
  if (typeof value === 'string') return parse(value);
  if (typeof value === 'number') return fromSeconds(value);
  throw refuse('expected a time in RFC 3339, or the seconds since 1970');
}

function fromSeconds(seconds: number): Moment {
  if (!Number.isInteger(seconds)) throw refuse('a whole number of seconds is needed');
  return { time: seconds * 1e3, offset: 0 };
}

function parse(text: string): Moment {
  const [, , , , , , , , zone] = RFC3339.exec(text) ?? [];
  const time = Date.parse(text);
  if (zone === undefined || Number.isNaN(time))
    throw refuse(`${JSON.stringify(text)} is not a time in RFC 3339, such as 2006-01-02T15:04:05Z`);
  if (zone === 'Z') return { time, offset: 0 };
  const [hours = 0, minutes = 0] = zone.slice(1).split(':').map(Number);
  return { time, offset: (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) };
}

function durationOf(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  const sign = text.startsWith('-') ? -1 : 1;
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text.replace(/^[+-]/, ''))
    throw refuse(`${JSON.stringify(text)} is not a duration, such as 1h30m`);
  return sign * parts.reduce((sum, [, n, unit = 's']) => sum + Number(n) * (UNITS[unit] ?? 0), 0);
}

/** The date as it is read at the moment's own offset, by UTC's methods. */
function localDate({ time, offset }: Moment): Date {
  return new Date(time + offset * 6e4);
}

function rfc3339(moment: Moment): string {
  return (
    localDate(moment).toISOString().slice(0, 19) + zone(moment, 'ZZZZZ').replace(/^\+00:00$/, 'Z')
  );
}

function zone({ offset }: Moment, verb: string): string {
  const sign = offset < 0 ? '-' : '+';
  const hours = two(Math.floor(Math.abs(offset) / 60));
  const minutes = two(Math.abs(offset) % 60);
  if (verb === 'Z' && offset === 0) return 'Z';
  if (verb === 'ZZZ' && offset === 0) return 'UTC';
  return sign + hours + (verb === 'Z' || verb === 'ZZZZZ' ? ':' : '') + minutes;
}

const two = (value: number): string => String(value).padStart(2, '0');

/**
 * cty's verbs: `YYYY-MM-DD'T'hh:mm:ssZ`; other letters are an error, text stands in single quotes.
 */
function formatMoment(pattern: string, moment: Moment): string {
  const date = localDate(moment);
  const token = /'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'/g;
  return pattern.replace(token, (part: string, quoted?: string) => {
    if (quoted !== undefined) return quoted.replaceAll("''", "'");
    if (!/^[A-Za-z]/.test(part)) {
      if (part === "'") throw refuse('a quotation mark is not closed');
      return part;
    }
    return verb(part, date, moment);
  });
}

function verb(letters: string, date: Date, moment: Moment): string {
  const hour12 = date.getUTCHours() % 12 || 12;
  const half = date.getUTCHours() < 12 ? 'AM' : 'PM';
  const day = DAYS[date.getUTCDay()] ?? '';
  const month = MONTHS[date.getUTCMonth()] ?? '';
  const verbs: Readonly<Record<string, string>> = {
    YYYY: String(date.getUTCFullYear()).padStart(4, '0'),
    YY: two(date.getUTCFullYear() % 100),
    MMMM: month,
    MMM: month.slice(0, 3),
    MM: two(date.getUTCMonth() + 1),
    M: String(date.getUTCMonth() + 1),
    DD: two(date.getUTCDate()),
    D: String(date.getUTCDate()),
    EEEE: day,
    EEE: day.slice(0, 3),
    hh: two(date.getUTCHours()),
    h: String(date.getUTCHours()),
    HH: two(hour12),
    H: String(hour12),
    AA: half,
    aa: half.toLowerCase(),
    mm: two(date.getUTCMinutes()),
    m: String(date.getUTCMinutes()),
    ss: two(date.getUTCSeconds()),
    s: String(date.getUTCSeconds()),
    Z: zone(moment, 'Z'),
    ZZZ: zone(moment, 'ZZZ'),
    ZZZZ: zone(moment, 'ZZZZ'),
    ZZZZZ: zone(moment, 'ZZZZZ'),
  };
  const text = verbs[letters];
  if (text === undefined) throw refuse(`unknown date verb "${letters}"`);
  return text;
}

function describe(moment: Moment): Value {
  const date = localDate(moment);
  const year = date.getUTCFullYear();
  const dayOfYear = Math.floor((date.getTime() - Date.UTC(year, 0, 1)) / 864e5) + 1;
  // ISO 8601: the week belongs to the year of its Thursday.
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * 864e5);
  const isoYear = thursday.getUTCFullYear();
  const isoWeek = Math.floor((thursday.getTime() - Date.UTC(isoYear, 0, 1)) / (7 * 864e5)) + 1;
  return object([
    ['year', year],
    ['year_day', dayOfYear],
    ['day', date.getUTCDate()],
    ['month', date.getUTCMonth() + 1],
    ['month_name', MONTHS[date.getUTCMonth()] ?? ''],
    ['weekday', date.getUTCDay()],
    ['weekday_name', DAYS[date.getUTCDay()] ?? ''],
    ['hour', date.getUTCHours()],
    ['minute', date.getUTCMinutes()],
    ['second', date.getUTCSeconds()],
    ['rfc3339', rfc3339(moment)],
    ['iso_year', isoYear],
    ['iso_week', isoWeek],
  ]);
}
