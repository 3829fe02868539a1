import type { ImageServices } from '../images/store/services';
import type { ContainerSandbox } from '../sandbox/sandbox';
import type { Container } from './container';
import type { ContainerStore } from './store';

/** The parts of a store that containers are made of. */
export interface ContainerServices extends ImageServices {
  readonly sandbox: ContainerSandbox;
}

/** A container at hand, with the store that it is in. */
export interface OpenContainer {
  readonly container: Container;
  readonly store: ContainerStore;
  readonly services: ContainerServices;
}
