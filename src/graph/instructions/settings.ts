import { isIP } from 'node:net';
import { expandWords } from '../../dockerfile/expand';
import type { InstructionOf } from '../../dockerfile/instruction';
import {
  expandIn,
  mistake,
  placed,
  withConfig,
  withHistory,
  type StageScopeReader,
  type StageState,
} from '../state';

type WordInstruction = InstructionOf<'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER'>;

/** `USER`: who later steps and the container run as. It is looked up when a step runs. */
export function planUser(
  instruction: WordInstruction,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const user = expandIn(instruction.value, state, scope);
  return withHistory(withConfig(state, { User: user }), `USER ${user}`);
}

/** `STOPSIGNAL`: a number or a name. */
export function planStopSignal(
  instruction: WordInstruction,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const signal = expandIn(instruction.value, state, scope);
  if (!isSignal(signal))
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      `${signal} is not a signal`,
      'write a number, or a name such as SIGTERM',
    );
  return withHistory(withConfig(state, { StopSignal: signal }), `STOPSIGNAL ${signal}`);
}

/** `MAINTAINER`: the author. */
export function planMaintainer(instruction: WordInstruction, state: StageState): StageState {
  return withHistory({ ...state, author: instruction.value }, `MAINTAINER ${instruction.value}`);
}

/** `VOLUME`. */
export function planVolume(
  instruction: InstructionOf<'EXPOSE' | 'VOLUME'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const volumes = instruction.words.map((word) => expandIn(word, state, scope));
  if (volumes.some((volume) => volume === ''))
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      'VOLUME has an empty path',
      'is the variable in it set at this point?',
    );
  const next = withConfig(state, {
    Volumes: {
      ...state.config.Volumes,
      ...Object.fromEntries(volumes.map((volume) => [volume, {}])),
    },
  });
  return withHistory(next, `VOLUME [${volumes.join(' ')}]`);
}

/** `EXPOSE`: ports and ranges, tcp where no protocol is named. */
export function planExpose(
  instruction: InstructionOf<'EXPOSE' | 'VOLUME'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  let words: string[];
  try {
    words = [...instruction.words]
      .sort()
      .flatMap((word) => expandWords(word, (name) => state.env.get(name), scope.escape));
  } catch (error) {
    throw placed(error, scope.file, instruction.range);
  }
  const ports = words.flatMap((word) => {
    const found = portsOf(word);
    if (found === undefined)
      throw mistake(
        'DOCKERFILE_SEMANTIC',
        `${word} is not a port`,
        'write PORT[-PORT][/tcp|/udp|/sctp]',
      );
    return found;
  });
  const next = withConfig(state, {
    ExposedPorts: {
      ...state.config.ExposedPorts,
      ...Object.fromEntries(ports.map((port) => [port, {}])),
    },
  });
  return withHistory(next, `EXPOSE [${ports.join(' ')}]`);
}

/** `[[ADDRESS:]PORTS:]PORTS[/PROTOCOL]` */
const PORTS = /^(?:(?:(.*):)?(?:(\d+)(?:-(\d+))?)?:)?\+?(\d+)(?:-\+?(\d+))?(?:\/([A-Za-z]*))?$/;

/**
 * `8000-8002/udp` → three ports with protocol. Host parts (`1.2.3.4:80:80`) are read and dropped,
 * as docker does; a range of them is as long as that of the container.
 */
function portsOf(word: string): string[] | undefined {
  const match = PORTS.exec(word);
  if (match === null) return undefined;
  const [, address = '', hostFirst = '', hostLast = hostFirst, first = '', last = first, protocol] =
    match;
  if (address !== '' && isIP(address.replace(/^\[(.*)\]$/, '$1')) === 0) return undefined;
  const from = Number(first);
  const to = Number(last);
  const type = (protocol || 'tcp').toLowerCase();
  if (!['tcp', 'udp', 'sctp'].includes(type) || from > to || to > 65535) return undefined;
  const hostLength = Number(hostLast) - Number(hostFirst);
  if (hostFirst !== '' && (hostLength < 0 || (hostLength !== to - from && to !== from)))
    return undefined;
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}/${type}`);
}

const SIGNALS = new Set(
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ'.split(
    ' ',
  ),
);

/** moby/sys/signal, ParseSignal: a number but 0, a name with or without SIG, or RTMIN±n. */
function isSignal(text: string): boolean {
  if (/^[-+]?\d+$/.test(text)) return Number(text) !== 0;
  const name = text.toUpperCase().replace(/^SIG/, '');
  return (
    SIGNALS.has(name) || /^RTMIN(?:\+(?:[0-9]|1[0-5]))?$|^RTMAX(?:-(?:[0-9]|1[0-4]))?$/.test(name)
  );
}
