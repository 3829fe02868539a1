import { applyLayer, completeApplied } from './apply';
import { hashTree, treeDigest } from './diff';

/** What of this folder runs in worker threads, under the name `layer`. */
export const layerTasks = { hashTree, treeDigest, applyLayer, completeApplied };
