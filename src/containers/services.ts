import type { ImageServices } from '../images/store/services';
import type { ContainerSandbox } from '../sandbox/sandbox';

/** The parts of a store that containers are made of. */
export interface ContainerServices extends ImageServices {
  readonly sandbox: ContainerSandbox;
}
