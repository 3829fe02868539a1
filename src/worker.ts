import { contextTasks } from './context/tasks';
import { layerTasks } from './layer/tasks';
import { serveTasks } from './linux/threads';
import { supervisorTasks } from './sandbox/seccomp/supervisor';

serveTasks({ context: contextTasks, layer: layerTasks, supervisor: supervisorTasks });
