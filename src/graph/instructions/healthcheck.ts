import { healthcheckOptions } from '../../dockerfile/flags';
import type { InstructionOf } from '../../dockerfile/instruction';
import type { HealthConfig } from '../../oci/image';
import { goDuration } from '../go-format';
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

/** Docker's struct as Go's `%+v` prints it: Dockerfile 1.24. */
function goHealth(health: HealthConfig): string {
  const time = (nanoseconds = 0): string => goDuration(nanoseconds);
  const fields = [
    `Test:[${(health.Test ?? []).join(' ')}]`,
    `Interval:${time(health.Interval)}`,
    `Timeout:${time(health.Timeout)}`,
    `StartPeriod:${time(health.StartPeriod)}`,
    `StartInterval:${time(health.StartInterval)}`,
    `Retries:${health.Retries ?? 0}`,
  ];
  return `{${fields.join(' ')}}`;
}
