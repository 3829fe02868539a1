import type { Instruction } from '../dockerfile/instruction';
import { stepDisplay } from './display';

/** What the names of a stage's vertices are made of. */
export interface StepNaming {
  /** In front of the stage's name: the platform, where a build has several. */
  readonly prefix: string;
  /** Empty in a Dockerfile of one unnamed stage. */
  readonly stage: string;
  readonly instructions: readonly Instruction[];
  /** True for a stage that begins with an image, which is a vertex of its own. */
  readonly hasImage: boolean;
}

/** Numbers the vertices of a stage as BuildKit does: `[build 2/4] RUN make`. */
export class StepNames {
  readonly #total: number;
  readonly #prefix: string;
  #index = 0;

  constructor({ prefix, stage, instructions, hasImage }: StepNaming) {
    const steps = instructions.filter(({ keyword }) =>
      ['RUN', 'COPY', 'ADD', 'WORKDIR'].includes(keyword),
    ).length;
    this.#total = steps + (hasImage ? 1 : 0);
    this.#prefix = stage === '' ? prefix : `${prefix}${stage} `;
  }

  /** The name of the next vertex. */
  next(text: string): string {
    const digits = String(this.#total).length;
    return `[${this.#prefix}${String(++this.#index).padStart(digits)}/${this.#total}] ${stepDisplay(text)}`;
  }
}
