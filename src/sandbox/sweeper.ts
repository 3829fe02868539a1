import { killOrphans } from './orphans';
import { removeProotFiles } from './sandboxes/proot-files';

// A program of its own: the guard of a step becomes it when mbuild is gone (see guardOps in
// namespace-program.ts).
killOrphans(process.ppid, process.pid, removeProotFiles);
