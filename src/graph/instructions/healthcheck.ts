import { healthcheckOptions } from '../../dockerfile/flags';
import type { InstructionOf } from '../../dockerfile/instruction';
import type { HealthConfig } from '../../oci/image';
import { goDuration, goQuote, goQuoteList } from '../go-format';
import { placed, withConfig, withHistory, type StageScopeReader, type StageState } from '../state';

/** `HEALTHCHECK`. */
export function planHealthcheck(
  instruction: InstructionOf<'HEALTHCHECK'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const health = healthOf(instruction, scope);
  return withHistory(withConfig(state, { Healthcheck: health }), `HEALTHCHECK ${goHealth(health)}`);
}

function healthOf(
  instruction: InstructionOf<'HEALTHCHECK'>,
  scope: StageScopeReader,
): HealthConfig {
  const { command } = instruction;
  if (command === 'NONE') return { Test: ['NONE'] };
  try {
    const { interval, timeout, startPeriod, startInterval, retries } = healthcheckOptions(
      instruction.flags,
    );
    return {
      Test: command.form === 'exec' ? ['CMD', ...command.args] : ['CMD-SHELL', command.line],
      ...(interval > 0 && { Interval: interval }),
      ...(timeout > 0 && { Timeout: timeout }),
      ...(startPeriod > 0 && { StartPeriod: startPeriod }),
      ...(startInterval > 0 && { StartInterval: startInterval }),
      ...(retries > 0 && { Retries: retries }),
    };
  } catch (error) {
    throw placed(error, scope.file, instruction.range);
  }
}

/** A pointer to the struct as `%q` prints it; the retries come out as a character. */
function goHealth(health: HealthConfig): string {
  const times = [health.Interval, health.Timeout, health.StartPeriod, health.StartInterval].map(
    (time) => goQuote(goDuration(time ?? 0)),
  );
  const retries = health.Retries ?? 0;
  const character =
    retries < 0x20 || retries === 0x7f
      ? goQuote(String.fromCharCode(retries)).slice(1, -1)
      : retries === 0x27
        ? "\\'"
        : String.fromCodePoint(retries);
  return `&{${[goQuoteList(health.Test ?? []), ...times, `'${character}'`].join(' ')}}`;
}
