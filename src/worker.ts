import { contextTasks } from './context/tasks';
import { layerTasks } from './layer/tasks';
import { serveTasks } from './linux/threads';

serveTasks({ context: contextTasks, layer: layerTasks });
