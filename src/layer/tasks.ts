import { applyLayer, completeApplied } from './apply';
import { readContents } from './chunks';
import { hashTree } from './diff';
import { gzipMember } from './gzip';
import { findNeedles } from './needles';

/** What of this folder runs in worker threads, under the name `layer`. */
export const layerTasks = {
  findNeedles,
  gzipMember,
  hashTree,
  readContents,
  applyLayer,
  completeApplied,
};
