import { applyLayer, completeApplied } from './apply';
import { findNeedles, hashTree, treeDigest } from './diff';

/** What of this folder runs in worker threads, under the name `layer`. */
export const layerTasks = { findNeedles, hashTree, treeDigest, applyLayer, completeApplied };
