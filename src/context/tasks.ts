import { copyFiles } from '../snapshot/copy-files';
import { copyAndHashFiles, hashFiles } from './hash-files';

/** What worker threads do for contexts and copies: group `context`. */
export const contextTasks = { hashFiles, copyFiles, copyAndHashFiles } as const;
