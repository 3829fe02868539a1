// Builds a directory and tells what happened: node build-with-events.js DIRECTORY NAME
// Ctrl-C stops the build, which cleans up before it rejects.
import { Mbuild, isMbuildError, renderError, type BuildEvent } from 'mbuild';

const [context = '.', name = 'app'] = process.argv.slice(2);
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());

/** Names of the steps by id: events after the first one name only that. */
const steps = new Map<number, string>();

function onEvent(event: BuildEvent): void {
  switch (event.kind) {
    case 'vertex':
      steps.set(event.id, event.name);
      break;
    case 'log':
      process.stdout.write(event.data);
      break;
    case 'note':
      console.log(`${steps.get(event.id)}: ${event.text}`);
      break;
    case 'done':
      console.log(`${steps.get(event.id)}: ${event.cached ? 'from the cache' : 'done'}`);
      break;
  }
}

async function main(): Promise<void> {
  const mbuild = await Mbuild.open();
  try {
    const { imageId, cache } = await mbuild.build(
      { context, tags: [name] },
      { signal: interrupted.signal, onEvent },
    );
    console.log(`${name} is ${imageId}; the cache saved ${cache.secondsSaved} s`);
  } finally {
    await mbuild.close();
  }
}

main().catch((error: unknown) => {
  // As the command line shows it: with the line of the Dockerfile and the way out.
  console.error(renderError(error));
  process.exitCode = isMbuildError(error, 'CANCELED') ? 130 : 1;
});
