import type { Instruction } from '../../dockerfile/instruction';
import { placed, type StageScopeReader, type StageState } from '../state';
import { planArg } from './arg';
import { planCmd, planEntrypoint, planShell } from './command';
import { planCopy } from './copy';
import { planEnv } from './env';
import { planHealthcheck } from './healthcheck';
import { planLabel } from './label';
import { planOnBuild } from './onbuild';
import { planRun } from './run';
import { planExpose, planMaintainer, planStopSignal, planUser, planVolume } from './settings';
import { planWorkdir } from './workdir';

/** What an instruction makes of a stage. A mistake of the instruction is placed at its range. */
export async function planInstruction(
  instruction: Instruction,
  state: StageState,
  scope: StageScopeReader,
): Promise<StageState> {
  try {
    return await plan(instruction, state, scope);
  } catch (error) {
    throw placed(error, scope.file, instruction.range);
  }
}

function plan(
  instruction: Instruction,
  state: StageState,
  scope: StageScopeReader,
): StageState | Promise<StageState> {
  switch (instruction.keyword) {
    case 'RUN':
      return planRun(instruction, state, scope);
    case 'COPY':
    case 'ADD':
      return planCopy(instruction, state, scope);
    case 'ENV':
      return planEnv(instruction, state, scope);
    case 'ARG':
      return planArg(instruction, state, scope);
    case 'WORKDIR':
      return planWorkdir(instruction, state, scope);
    case 'USER':
      return planUser(instruction, state, scope);
    case 'LABEL':
      return planLabel(instruction, state, scope);
    case 'EXPOSE':
      return planExpose(instruction, state, scope);
    case 'VOLUME':
      return planVolume(instruction, state, scope);
    case 'CMD':
      return planCmd(instruction, state);
    case 'ENTRYPOINT':
      return planEntrypoint(instruction, state);
    case 'SHELL':
      return planShell(instruction, state);
    case 'STOPSIGNAL':
      return planStopSignal(instruction, state, scope);
    case 'HEALTHCHECK':
      return planHealthcheck(instruction, state, scope);
    case 'ONBUILD':
      return planOnBuild(instruction, state);
    case 'MAINTAINER':
      return planMaintainer(instruction, state);
    case 'FROM':
      throw new Error('FROM begins a stage and is not planned inside one');
  }
}
