// Decides in a CI script what a build is worth: node plan-in-ci.js DIRECTORY [SECONDS]
// Prints `runner=large` when the steps that have to run took longer than SECONDS the last time, else `runner=small`.
import { Mbuild, type Plan } from 'mbuild';

const [context = '.', limit = '60'] = process.argv.slice(2);

function reasons({ steps, pulls }: Plan): string[] {
  const missed = steps.filter(({ outcome }) => outcome === 'miss' || outcome === 'may-hit');
  return [
    ...missed.map(({ name, why }) => `${name}: ${why ?? 'has to run'}`),
    ...pulls.map(({ name, bytes }) => `pull ${name}, ${bytes} bytes`),
  ];
}

async function main(): Promise<void> {
  const mbuild = await Mbuild.open();
  try {
    const plan = await mbuild.plan({ context });
    for (const reason of reasons(plan)) console.error(reason);
    // A step that never ran has no time: better too much of a machine than too little.
    const isLong = plan.untimed > 0 || plan.expectedSeconds > Number(limit);
    console.log(`runner=${isLong ? 'large' : 'small'}`);
  } finally {
    await mbuild.close();
  }
}

void main();
